// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace passthroughfs {

// "passthroughfs: LINE" on stderr, by one write.
void report(std::string_view line) noexcept;

// Everything to stdout, at once. False when it could not be written (a closed pipe, a full disk).
bool print(std::string_view text) noexcept;

}  // namespace passthroughfs
