// SPDX-License-Identifier: Apache-2.0
#include "ops/content_version.h"

#include <sys/stat.h>

#include <ctime>

#include "source/sys.h"

namespace passthroughfs {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) noexcept {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 31);
}

std::int64_t nanoseconds(std::int64_t sec, std::int64_t nsec) noexcept {
  return sec * 1'000'000'000 + nsec;
}

}  // namespace

bool keep_pages(Inode& inode, BorrowedFd fd) noexcept {
  // File times move in steps of a clock tick, 10 ms at most; ten times that is safe.
  constexpr std::int64_t kSettled = 100'000'000;
  auto st = sys::stat_at(fd, "", STATX_SIZE | STATX_MTIME | STATX_CTIME);
  if (!st) return false;
  const std::int64_t changed = nanoseconds(st->stx_ctime.tv_sec, st->stx_ctime.tv_nsec);
  const std::int64_t modified = nanoseconds(st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec);
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
  std::uint64_t version = 0;
  if (nanoseconds(now.tv_sec, now.tv_nsec) - changed > kSettled) {
    version = mix(mix(mix(1, st->stx_size), static_cast<std::uint64_t>(changed)),
                  static_cast<std::uint64_t>(modified));
  }
  const std::uint64_t before = inode.cached_version.exchange(version, std::memory_order_relaxed);
  return version != 0 && before == version;
}

}  // namespace passthroughfs
