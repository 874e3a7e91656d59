// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "ops/mount_state.h"
#include "table/ledger.h"
#include "wire/requests.h"

namespace passthroughfs {

// What a process takes over from one that died while it served the mount (guard/): the tables, and
// the requests that it had in hand. The kernel sends those again, marked, that were not answered;
// each is then found here, once, with what had been done for it.
class Recovery {
 public:
  // Who is blamed for the death of the process that served it. One that dies within a moment after
  // it took up a request has most likely died of it; another request was perhaps only there: a slow
  // one is there each time. With kMostBlame a request gets EIO; from kSuspect on it is served
  // alone.
  static constexpr std::uint32_t kMostBlame = 21, kSuspect = 14;
  // `attempted`, `died`: nanoseconds of one clock; died 0: not known.
  [[nodiscard]] static std::uint32_t blame_for(std::int64_t attempted, std::int64_t died) noexcept {
    constexpr std::int64_t kMoment = 50'000'000;
    return died == 0 || died - attempted < kMoment ? 7 : 1;
  }

  // `state`: with tables and ledgers. Nobody died so far.
  explicit Recovery(MountState& state) noexcept : state_(state) {}

  // With a record of changes: inodes that may be mapped for writing, each held in the inode table.
  // For the journal, which lets go of them.
  [[nodiscard]] const std::vector<NodeId>& mapped() const noexcept { return mapped_; }

  // Before any other thread exists. Rebuilds the tables and closes every descriptor that neither
  // they nor the guardian (`kept`, sorted) own. `died`: as Session::Takeover. EUCLEAN: the memory
  // is not what we left in it.
  Result<void> take_tables(std::span<const int> kept, std::int64_t died);

  // With the tables there, before requests are read: finishes what the kernel does not send again
  // (FORGET), and takes back what could not be handed over.
  void finish_orphans(const wire::DecodeOptions& decode) noexcept;

  // The ledger of a request that is sent again, for its caller alone; nullptr: it had not been
  // begun. Thread-safe.
  [[nodiscard]] Ledger* claim(std::uint64_t unique) noexcept PFS_EXCLUDES(mutex_);
  // What the ledger's request would have handed over, the caller has it claimed.
  void take_back(Ledger& ledger) noexcept;
  // The ledger has nothing more to say.
  static void close(Ledger& ledger) noexcept;

  // The requests that are left were answered: the kernel has sent all the others by now.
  void forget_answered() noexcept PFS_EXCLUDES(mutex_);
  [[nodiscard]] bool is_over() const noexcept { return left_.load() == 0; }

  // Held while a request is served that was in hand when a process died, and died again: so that it
  // is known which of several it was.
  [[nodiscard]] std::mutex& suspects() noexcept { return suspects_; }

 private:
  void find_ledgers(std::int64_t died);
  Result<void> close_unowned(std::span<const int> kept);

  MountState& state_;
  Mutex mutex_;
  std::mutex suspects_;
  std::unordered_map<std::uint64_t, Ledger*> ledgers_ PFS_GUARDED_BY(mutex_);
  std::atomic<std::size_t> left_{0};
  std::vector<NodeId> mapped_;
};

}  // namespace passthroughfs
