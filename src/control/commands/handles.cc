// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "control/commands.h"

namespace passthroughfs::control {
namespace {

// Of the longest paths that still fit into one answer; usually it is some 300 KiB.
constexpr std::size_t kPage = 1024;
// More than fit into one answer, however short their paths are.
constexpr std::size_t kMostAtOnce = kMaxReplyBytes / 128;

}  // namespace

Outcome<Json> handles(ControlTarget& target, const Json& arguments) {
  if (const auto position = arguments.find("position"); position != arguments.end()) {
    if (!position->is_number_unsigned()) {
      return Error{EINVAL, "\"position\" is not a number that \"next\" could have been"};
    }
    return Json(target.handles(position->get<std::uint64_t>(), kPage));
  }
  const OpenFilePage all = target.handles(0, kMostAtOnce);
  if (all.next != 0) return Error{EFBIG, "too many files are open for one answer"};
  return Json(all.files);
}

}  // namespace passthroughfs::control
