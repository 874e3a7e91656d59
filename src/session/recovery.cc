// SPDX-License-Identifier: Apache-2.0
#include "session/recovery.h"

#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/fault.h"
#include "base/log.h"
#include "channel/dev_fuse.h"
#include "ops/open_file.h"
#include "wire/opcode.h"

namespace passthroughfs {
namespace {

// Makes a ledger the one in hand, so that what is undone is undone in it.
class InHand {
 public:
  InHand(Ledgers& ledgers, Ledger& ledger) noexcept : before_(ledger_in_hand()) {
    ledger_in_hand() = {&ledger, ledgers.grants(ledger)};
  }
  ~InHand() { ledger_in_hand() = before_; }
  InHand(const InHand&) = delete;
  InHand& operator=(const InHand&) = delete;

 private:
  const LedgerInHand before_;
};

// What would lead out of its bounds if it was damaged.
void distrust(Ledger& ledger) noexcept {
  constexpr int kLargestErrno = 511;  // that the kernel takes
  if (ledger.granted.load() > Ledgers::kMostGrants) ledger.granted.store(0);
  if (ledger.counted_at >= Ledgers::kMostGrants && ledger.counted_how != CountChange::kForget) {
    ledger.counted_slot.store(0);
  }
  if (ledger.result_bytes > Ledger::kResultRoom || ledger.result_error < 0 ||
      ledger.result_error > kLargestErrno) {
    ledger.has_result = 0;
  }
}

}  // namespace

Result<void> Recovery::take_tables(std::span<const int> kept, std::int64_t died) {
  fault_point(Fault::recover);
  InodeTable& inodes = *state_.inodes;
  TRY(state_.handles->check());
  TRY(state_.locks.check());
  TRY(inodes.begin_recovery(state_.config.journal == JournalMode::off ? nullptr : &mapped_));
  find_ledgers(died);
  TRY(state_.handles->recover());
  TRY(inodes.recover());
  TRY(state_.locks.recover([&](int fd, NodeId node) { return inodes.is_open_on(fd, node); }));
  return close_unowned(kept);
}

void Recovery::find_ledgers(std::int64_t died) {
  MutexLock lock(mutex_);
  Ledgers& all = *state_.ledgers;
  for (std::uint32_t i = 0, end = all.used(); i < end; ++i) {
    Ledger& ledger = all.at(i);
    distrust(ledger);
    const auto settled = CountChange::settle(ledger, all.grants(ledger));
    if (settled.slot != 0) {
      state_.inodes->set_count_in_recovery(settled.slot, settled.count);
      ledger.counted_slot.store(0);
    }
    const std::uint64_t unique = ledger.unique.load();
    if (unique == 0) continue;
    // An answer that hands over what nobody can find any more is better given anew.
    const std::uint32_t* const grants = all.grants(ledger);
    if (std::any_of(grants, grants + ledger.granted.load(),
                    [&](std::uint32_t slot) { return state_.inodes->is_lost(slot); })) {
      ledger.has_result = 0;
    }
    if (ledger.phase.load() == Ledger::kServing) {
      ++ledger.deaths;
      ledger.blame += blame_for(ledger.attempted, died);
    }
    // Two have the same if a process died between taking one over and closing the other, which has
    // nothing to say then.
    auto [at, added] = ledgers_.try_emplace(unique, &ledger);
    if (!added) {
      Ledger& other = *at->second;
      const bool keep_other = other.phase.load() == Ledger::kServing;
      Ledger& closed = keep_other ? ledger : other;
      at->second = keep_other ? &other : &ledger;
      close(closed);
    }
  }
  left_.store(ledgers_.size());
}

// The numbers in between are closed in runs: there are fewer of them than descriptors.
// EUCLEAN: two records have the same one, which the end of either would close for the other.
Result<void> Recovery::close_unowned(std::span<const int> kept) {
  std::vector<int> owned;
  const auto own = [&](int fd) { owned.push_back(fd); };
  state_.inodes->for_each_descriptor(own);
  state_.handles->for_each_descriptor(own);
  state_.locks.for_each_descriptor(own);
  std::sort(owned.begin(), owned.end());
  if (std::adjacent_find(owned.begin(), owned.end()) != owned.end()) return Err(EUCLEAN);
  state_.source.for_each_descriptor(own);
  owned.insert(owned.end(), kept.begin(), kept.end());
  std::sort(owned.begin(), owned.end());
  unsigned next = 0;
  for (const int fd : owned) {
    if (fd < 0) continue;  // a damaged record's
    const auto number = static_cast<unsigned>(fd);
    if (number > next) (void)::close_range(next, number - 1, 0);
    next = std::max(next, number + 1);
  }
  (void)::close_range(next, ~0U, 0);
  return ok();
}

void Recovery::finish_orphans(const wire::DecodeOptions& decode) noexcept {
  Ledgers& all = *state_.ledgers;
  for (std::uint32_t i = 0, end = all.used(); i < end; ++i) {
    Ledger& ledger = all.at(i);
    const std::uint64_t unique = ledger.unique.load();
    if (unique != 0 && ledger.phase.load() == Ledger::kTakingBack) {
      take_back(ledger);
      (void)claim(unique);
      close(ledger);
      continue;
    }
    const ByteSpan message = last_request(all.room(ledger));
    if (message.empty()) continue;
    const auto request = wire::parse_request(message);
    if (!request || request->header.unique == 0 ||
        request->header.unique == ledger.finished.load()) {
      continue;
    }
    const wire::Opcode opcode = request->opcode();
    if (opcode != wire::Opcode::forget && opcode != wire::Opcode::batch_forget) continue;
    if (unique != request->header.unique) {
      // Read, and not begun.
      if (unique != 0) continue;
      ledger.opcode = request->header.opcode;
      ledger.phase.store(Ledger::kServing);
      ledger.deaths = ledger.blame = 0;
      ledger.granted.store(0);
      ledger.handle.store(0);
      ledger.has_result = 0;
      ledger.forgotten.store(0);
      ledger.unique.store(request->header.unique);
    } else {
      (void)claim(unique);
    }
    const InHand in_hand(all, ledger);
    const std::uint32_t done = ledger.forgotten.load();
    if (opcode == wire::Opcode::forget) {
      const auto one = wire::decode<wire::ForgetRequest>(*request, decode);
      if (one && done == 0) (void)state_.inodes->forget(request->header.nodeid, one->nlookup);
    } else if (const auto batch = wire::decode<wire::BatchForgetRequest>(*request, decode)) {
      std::uint32_t at = 0;
      for (const wire::ForgetOne& forget : batch->forgets) {
        if (at++ >= done) (void)state_.inodes->forget(forget.nodeid, forget.nlookup);
      }
    }
    close(ledger);
  }
}

Ledger* Recovery::claim(std::uint64_t unique) noexcept {
  if (is_over()) return nullptr;
  MutexLock lock(mutex_);
  const auto found = ledgers_.find(unique);
  if (found == ledgers_.end()) return nullptr;
  Ledger* const ledger = found->second;
  ledgers_.erase(found);
  left_.store(ledgers_.size());
  return ledger;
}

void Recovery::take_back(Ledger& ledger) noexcept {
  const InHand in_hand(*state_.ledgers, ledger);
  if (const std::uint64_t fh = ledger.handle.load(); fh != 0) {
    if (const NodeId node = state_.handles->node_of(fh); node != 0) {
      (void)close_handle(state_, node, fh);
    }
    ledger.handle.store(0);
  }
  const std::uint32_t* const grants = state_.ledgers->grants(ledger);
  for (std::uint32_t i = ledger.granted.load(); i > 0; --i) {
    const std::uint32_t slot = grants[i - 1];
    if (slot != 0) (void)state_.inodes->forget(state_.inodes->id_of_slot(slot), 1);
  }
  ledger.granted.store(0);
}

void Recovery::close(Ledger& ledger) noexcept {
  ledger.finished.store(ledger.unique.load());
  std::atomic_signal_fence(std::memory_order_seq_cst);
  ledger.unique.store(0);
}

void Recovery::forget_answered() noexcept {
  MutexLock lock(mutex_);
  for (const auto& [unique, ledger] : ledgers_) close(*ledger);
  ledgers_.clear();
  left_.store(0);
}

}  // namespace passthroughfs
