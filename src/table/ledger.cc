// SPDX-License-Identifier: Apache-2.0
#include "table/ledger.h"

#include <utility>

namespace passthroughfs {
namespace {

thread_local Ledger* t_ledger = nullptr;

}  // namespace

Ledger* this_ledger() noexcept { return t_ledger; }
void set_this_ledger(Ledger* ledger) noexcept { t_ledger = ledger; }

Result<std::unique_ptr<Ledgers>> Ledgers::create(std::uint32_t capacity, std::size_t room) {
  Region ledgers = TRY(Region::create("passthroughfs-ledgers", capacity * sizeof(Ledger)));
  Region grants =
      TRY(Region::create("passthroughfs-grants", capacity * kMostGrants * sizeof(std::uint32_t)));
  std::unique_ptr<Region> rooms;
  if (room != 0) {
    rooms = std::make_unique<Region>(TRY(Region::create("passthroughfs-rooms", capacity * room)));
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
    return &at(i);
  }
  return nullptr;
}

void Ledgers::give_back(Ledger& ledger) noexcept {
  MutexLock lock(mutex_);
  taken_[index_of(ledger)] = false;
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
