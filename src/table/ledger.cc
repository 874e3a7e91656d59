// SPDX-License-Identifier: Apache-2.0
#include "table/ledger.h"

#include <sys/mman.h>

#include <utility>

#include "base/fault.h"

namespace passthroughfs {
namespace {

thread_local LedgerInHand t_in_hand;

// Between two stores whose order a successor relies on.
void in_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace

LedgerInHand& ledger_in_hand() noexcept { return t_in_hand; }

CountChange::CountChange(How how, std::uint32_t slot, std::uint64_t before,
                         std::uint64_t after) noexcept
    : in_hand_(t_in_hand) {
  if (in_hand_.ledger == nullptr) return;
  Ledger& ledger = *in_hand_.ledger;
  const std::uint32_t granted = ledger.granted.load(std::memory_order_relaxed);
  std::uint32_t at = how == kForget ? ledger.forgotten.load(std::memory_order_relaxed) : granted;
  if (how == kGrant && granted >= Ledgers::kMostGrants) return;
  if (how == kTakeBack) {
    // What the list does not have was not granted by this request.
    while (at > 0 && in_hand_.grants[at - 1] != slot) --at;
    if (at-- == 0) return;
  }
  ledger.counted_how = how;
  ledger.counted_at = at;
  ledger.counted_before = before;
  ledger.counted_after = after;
  ledger.counted_slot.store(slot, std::memory_order_release);
  in_order();
  fault_point(how == kForget ? Fault::forget : Fault::lookup);
}

void CountChange::end() noexcept {
  if (in_hand_.ledger == nullptr) return;
  Ledger& ledger = *in_hand_.ledger;
  const std::uint32_t slot = ledger.counted_slot.load(std::memory_order_relaxed);
  if (slot == 0) return;
  in_order();
  fault_point(ledger.counted_how == kForget ? Fault::forget : Fault::lookup);
  const std::uint32_t at = ledger.counted_at;
  switch (ledger.counted_how) {
    case kGrant:
      in_hand_.grants[at] = slot;
      ledger.granted.store(at + 1, std::memory_order_release);
      break;
    case kForget: ledger.forgotten.store(at + 1, std::memory_order_release); break;
    default: in_hand_.grants[at] = 0; break;
  }
  in_order();
  ledger.counted_slot.store(0, std::memory_order_release);
}

CountChange::Settled CountChange::settle(Ledger& ledger, std::uint32_t* grants) noexcept {
  const std::uint32_t slot = ledger.counted_slot.load(std::memory_order_relaxed);
  if (slot == 0) return {0, 0};
  const std::uint32_t at = ledger.counted_at;
  std::uint64_t count = ledger.counted_after;
  switch (ledger.counted_how) {
    case kGrant:
      // In the list the answer may have handed it over; else nobody knows of it.
      if (ledger.granted.load(std::memory_order_relaxed) <= at) count = ledger.counted_before;
      break;
    case kForget: ledger.forgotten.store(at + 1, std::memory_order_release); break;
    default: grants[at] = 0; break;
  }
  return {slot, count};
}

Result<std::unique_ptr<Ledgers>> Ledgers::create(std::uint32_t capacity, std::size_t room,
                                                 Regions& regions) {
  Region ledgers = TRY(regions.make("passthroughfs-ledgers", capacity * sizeof(Ledger)));
  Region grants =
      TRY(regions.make("passthroughfs-grants", capacity * kMostGrants * sizeof(std::uint32_t)));
  std::unique_ptr<Region> rooms;
  if (room != 0) {
    rooms = std::make_unique<Region>(TRY(regions.make("passthroughfs-rooms", capacity * room)));
  }
  return std::unique_ptr<Ledgers>(
      new Ledgers(capacity, room, std::move(ledgers), std::move(grants), std::move(rooms)));
}

Ledgers::Ledgers(std::uint32_t capacity, std::size_t room, Region ledgers, Region grants,
                 std::unique_ptr<Region> rooms) noexcept
    : capacity_(capacity),
      room_(room),
      ledgers_(std::move(ledgers)),
      grants_(std::move(grants)),
      rooms_(std::move(rooms)),
      taken_(std::make_unique<bool[]>(capacity)) {}

Ledger* Ledgers::take() noexcept {
  MutexLock lock(mutex_);
  for (std::uint32_t i = 0; i < capacity_; ++i) {
    if (taken_[i] || at(i).unique.load(std::memory_order_acquire) != 0) continue;
    taken_[i] = true;
    at(i).used.store(1, std::memory_order_relaxed);
    return &at(i);
  }
  return nullptr;
}

void Ledgers::give_back(Ledger& ledger) noexcept {
  MutexLock lock(mutex_);
  taken_[index_of(ledger)] = false;
}

void Ledgers::free_unused_rooms() noexcept {
  if (!rooms_) return;
  MutexLock lock(mutex_);
  const auto unused = [&](std::uint32_t i) PFS_REQUIRES(mutex_) {
    return !taken_[i] && at(i).unique.load(std::memory_order_acquire) == 0;
  };
  const std::uint32_t all = used();
  for (std::uint32_t i = 0; i < all;) {
    std::uint32_t end = i;
    while (end < all && unused(end)) ++end;
    // Where it cannot be done it stays.
    if (end != i) (void)::madvise(rooms_->data() + i * room_, (end - i) * room_, MADV_REMOVE);
    i = end + 1;
  }
}

// take() gives out the first that is free, so there are none in between.
std::uint32_t Ledgers::used() const noexcept {
  std::uint32_t count = 0;
  while (count < capacity_ && at(count).used.load(std::memory_order_relaxed) != 0) ++count;
  return count;
}

Ledger& Ledgers::at(std::uint32_t index) const noexcept {
  return *(reinterpret_cast<Ledger*>(ledgers_.data()) + index);
}

std::uint32_t Ledgers::index_of(const Ledger& ledger) const noexcept {
  return static_cast<std::uint32_t>(&ledger - &at(0));
}

std::uint32_t* Ledgers::grants(const Ledger& ledger) const noexcept {
  return reinterpret_cast<std::uint32_t*>(grants_.data()) + index_of(ledger) * kMostGrants;
}

MutableByteSpan Ledgers::room(const Ledger& ledger) const noexcept {
  if (!rooms_) return {};
  return MutableByteSpan(rooms_->data() + index_of(ledger) * room_, room_);
}

}  // namespace passthroughfs
