// SPDX-License-Identifier: Apache-2.0
#include "ops/direct_append.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace passthroughfs {

Result<void> wait_for_turn(OpContext& context, const InodeRef& inode, BorrowedFd fd,
                           std::uint64_t offset) {
  const auto size = [&] {
    auto st = sys::stat_at(fd, "", STATX_SIZE);
    return st ? st->stx_size : offset;
  };
  const std::uint64_t now = size();
  if (now >= offset) {
    if (now == offset) inode->vain_waits.store(0, std::memory_order_relaxed);
    return ok();
  }
  const auto blocking = TRY(context.may_wait());
  // The part before has been read from the kernel already: once it is begun it is waited for until
  // it is done. If none is begun for a while then somebody has made the file shorter behind the
  // mount. The kernel does not learn that from appends, so it is waited for less each time.
  constexpr auto kMost = std::chrono::milliseconds(60'000);
  constexpr std::uint8_t kShortest = 7;
  const std::uint8_t vain = inode->vain_waits.load(std::memory_order_relaxed);
  const auto patience = std::chrono::milliseconds(1024 >> vain);
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (auto pause = std::chrono::microseconds(20); size() < offset;) {
    const bool working = inode->direct_appends.load(std::memory_order_acquire) != 0;
    if (Clock::now() - start > (working ? kMost : patience)) {
      if (!working && vain < kShortest) {
        inode->vain_waits.store(vain + 1, std::memory_order_relaxed);
      }
      break;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(1000));
  }
  return ok();
}

}  // namespace passthroughfs
