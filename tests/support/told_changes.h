// SPDX-License-Identifier: Apache-2.0
//
// What `checkpoint` and `dirty` say of a mount, in a form that tests compare.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "support/mount_fixture.h"

namespace passthroughfs::test {

using Changes = std::map<std::string, std::string>;

std::string chomp(std::string text);

std::string checkpoint(const Mount& mount);

// By path, the kinds joined by commas; "renamed<-FROM".
Changes dirty(const Mount& mount, const std::string& since,
              const std::vector<std::string>& more = {});

}  // namespace passthroughfs::test
