// SPDX-License-Identifier: Apache-2.0
//
// Whether two results of one call are the same, and the table of what FUSE makes impossible.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "exec.h"
#include "op.h"

namespace passthroughfs::difftest {

// Nothing when both sides did the same, or differ only as the table of exceptions allows; else one
// line that names what differs, the same line for the same sort of difference ("mode", "errno").
std::optional<std::string> difference(const Op& op, const Result& left, const Result& right);

// Whether such a line names a time: only a patient run shows the difference for certain.
bool is_about_times(const std::string& what);

// One result for people.
std::string show_result(const Result& result);

// Every way in which the right side may differ, with the reason: the source of the list in
// docs/semantics.md.
struct Exception {
  const char* name;
  const char* reason;
};
std::span<const Exception> exceptions();

}  // namespace passthroughfs::difftest
