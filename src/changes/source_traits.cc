// SPDX-License-Identifier: Apache-2.0
#include "changes/source_traits.h"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "changes/places.h"
#include "source/fs_kind.h"

namespace passthroughfs {
namespace {

// Whether a change right after a look at a file shows in its times.
bool has_fine_times(const SourceTree& source) noexcept {
  const UniqueFd file(::openat(source.root().get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) return false;
  // A clock tick could pass between the two writes, once or twice, but not each time.
  constexpr int kTries = 8;
  for (int i = 0; i < kTries; ++i) {
    if (::pwrite(file.get(), "a", 1, 0) != 1) return false;
    const auto before = look_at(file.borrow(), "");
    if (::pwrite(file.get(), "b", 1, 0) != 1) return false;
    const auto after = look_at(file.borrow(), "");
    if (!before || !after || Stamp::of(*before).ctime == Stamp::of(*after).ctime ||
        Stamp::of(*before).mtime == Stamp::of(*after).mtime) {
      return false;
    }
  }
  return true;
}

}  // namespace

SourceTraits probe_source(const SourceTree& source) noexcept {
  SourceTraits traits;
  traits.root_device = source.root_device();
  traits.fine_times = has_fine_times(source);
  struct statfs fs;
  if (::fstatfs(source.root().get(), &fs) == 0) traits.silent_mappings = fs_kind(fs).in_memory;
  return traits;
}

}  // namespace passthroughfs
