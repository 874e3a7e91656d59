// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <new>
#include <optional>
#include <thread>
#include <type_traits>

#include "base/mutex.h"
#include "base/region.h"

namespace passthroughfs {

// A slot's number as the kernel sees it (nodeid, fh): generation in the high half, slot in the low.
struct SlotNumber {
  static constexpr std::uint64_t make(std::uint32_t generation, std::uint32_t slot) noexcept {
    return (static_cast<std::uint64_t>(generation) << 32) | slot;
  }
  static constexpr std::uint32_t slot(std::uint64_t number) noexcept {
    return static_cast<std::uint32_t>(number);
  }
  static constexpr std::uint32_t generation(std::uint64_t number) noexcept {
    return static_cast<std::uint32_t>(number >> 32);
  }
};

// What every record starts with. `state` holds, from the top: generation (32 bits), live (1), busy
// (1), pins (30). All in one word, so that one compare-and-swap proves that the number is still the
// slot's and takes the pin.
struct SlotHead {
  std::atomic<std::uint64_t> state;
  std::uint32_t next;  // free list, or the owner's chain while in use
};

// Fixed-size records in a shared region, addressed by numbers that are never handed out twice.
//
// Life of a slot: allocate(), fill it, publish() -> live. pin()/unpin() from any thread, lock-free.
// retire() ends its life: pin() fails from then on. Whoever takes the last pin of a retired slot
// away (unpin() or retire() says so) alone owns the record, empties it and calls free(). Record
// must be trivial apart from its atomics and derive from SlotHead.
//
// Thread-safe. The free list is private to the process; a successor that has inherited the region
// makes its own by rebuild().
template <typename Record>
requires std::is_base_of_v<SlotHead, Record>
class SlotTable {
 public:
  static constexpr std::uint64_t kLive = 1ULL << 31;
  static constexpr std::uint64_t kBusy = 1ULL << 30;
  static constexpr std::uint64_t kPinMask = kBusy - 1;

  // How large a region for `capacity` records is.
  static constexpr std::size_t bytes_for(std::size_t capacity) noexcept {
    return kHeaderBytes + capacity * sizeof(Record);
  }

  // `region` is fresh, or holds such a table: then rebuild() has to follow. Slots below `first` are
  // never handed out by allocate().
  SlotTable(Region region, std::uint32_t first) noexcept
      : region_(std::move(region)),
        capacity_(static_cast<std::uint32_t>((region_.size() - kHeaderBytes) / sizeof(Record))),
        first_(first) {
    if (!region_.is_fresh()) return;
    header().record_bytes = sizeof(Record);
    header().capacity = capacity_;
    header().high_water.store(first, std::memory_order_release);
  }

  [[nodiscard]] Record& at(std::uint32_t slot) const noexcept {
    return *std::launder(reinterpret_cast<Record*>(region_.data() + kHeaderBytes) + slot);
  }
  // Slots at and above this one have never been used. Only grows.
  [[nodiscard]] std::uint32_t high_water() const noexcept {
    return header().high_water.load(std::memory_order_acquire);
  }

  // EUCLEAN: the region is not what such a table leaves in it.
  [[nodiscard]] Result<void> check() const noexcept {
    const std::uint32_t end = high_water();
    if (header().record_bytes != sizeof(Record) || header().capacity != capacity_ || end < first_ ||
        end > capacity_) {
      return Err(EUCLEAN);
    }
    return ok();
  }

  // For a process that takes over, before rebuild(): what is in the slot cannot be what was left
  // there, and rebuild() finds it not live.
  void discard(Record& record) const noexcept {
    record.state.fetch_and(~kLive, std::memory_order_relaxed);
  }

  // What rebuild() is told of a slot.
  enum class Fate {
    goes_on,  // live, and nobody has it pinned
    ends,     // emptied by who decides so; its number may be known somewhere, and comes to an end
    unused,   // free as before
  };
  // For a process that takes over from one that has died with the region mapped, before any other
  // thread exists: settle(record, live) decides about every slot that was ever used. EUCLEAN, see
  // check(): nothing was changed.
  template <typename Settle>
  Result<void> rebuild(Settle&& settle) {
    const std::uint32_t end = high_water();
    TRY(check());
    std::uint32_t free_head = 0;
    for (std::uint32_t slot = end; slot-- > first_;) {
      Record& record = at(slot);
      const std::uint64_t state = record.state.load(std::memory_order_relaxed);
      std::uint64_t generation = state >> 32;
      const Fate fate = settle(record, (state & kLive) != 0);
      if (fate == Fate::goes_on) {
        record.state.store(generation << 32 | kLive, std::memory_order_relaxed);
        continue;
      }
      // The last number of a slot may have been somebody's, and then free() left it like this.
      const bool used_up = generation == 0xffffffffULL;
      if (fate == Fate::ends && !used_up) ++generation;
      record.state.store(generation << 32, std::memory_order_relaxed);
      if (used_up) continue;
      record.next = free_head;
      free_head = slot;
    }
    // Not while settle() runs, which may take locks that are held where free() is called.
    MutexLock lock(free_mutex_);
    free_head_ = free_head;
    return ok();
  }
  [[nodiscard]] std::size_t touched_bytes() const noexcept {
    return static_cast<std::size_t>(high_water()) * sizeof(Record);
  }

  // A slot that is the caller's alone until publish(), with everything but its head as free() left
  // it. ENFILE when the table is full.
  [[nodiscard]] Result<std::uint64_t> allocate() noexcept {
    std::uint32_t slot = 0;
    {
      MutexLock lock(free_mutex_);
      if (free_head_ != 0) {
        slot = free_head_;
        free_head_ = at(slot).next;
      } else {
        slot = header().high_water.load(std::memory_order_relaxed);
        if (slot >= capacity_) return Err(ENFILE);
        header().high_water.store(slot + 1, std::memory_order_release);
      }
    }
    Record& record = at(slot);
    record.next = 0;
    return number_of(record, slot);
  }

  // Makes a filled slot live, with so many pins for the caller.
  void publish(Record& record, std::uint32_t pins) const noexcept {
    const std::uint64_t state = record.state.load(std::memory_order_relaxed);
    record.state.store((state & ~0xffffffffULL) | kLive | pins, std::memory_order_release);
  }

  // Takes a pin if the number is a live slot's; nullptr otherwise. While a slot is busy (a short
  // exclusive job, see try_busy()) this waits.
  [[nodiscard]] Record* pin(std::uint64_t number) const noexcept {
    const std::uint32_t slot = SlotNumber::slot(number);
    if (slot == 0 || slot >= high_water()) return nullptr;
    Record& record = at(slot);
    std::uint64_t state = record.state.load(std::memory_order_acquire);
    for (;;) {
      if ((state >> 32) != SlotNumber::generation(number) || (state & kLive) == 0) return nullptr;
      if ((state & kBusy) != 0) {
        std::this_thread::yield();
        state = record.state.load(std::memory_order_acquire);
        continue;
      }
      if (record.state.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {
        return &record;
      }
    }
  }

  // One more pin on a record that the caller has pinned or holds live by other means.
  void pin_again(Record& record) const noexcept {
    std::uint64_t state = record.state.load(std::memory_order_acquire);
    for (;;) {
      if ((state & kBusy) != 0) {
        std::this_thread::yield();
        state = record.state.load(std::memory_order_acquire);
        continue;
      }
      if (record.state.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {
        return;
      }
    }
  }

  // Lets go. True when the slot is retired and this was the last pin: the caller now owns it.
  [[nodiscard]] bool unpin(Record& record) const noexcept {
    const std::uint64_t before = record.state.fetch_sub(1, std::memory_order_acq_rel);
    return (before & kLive) == 0 && (before & kPinMask) == 1;
  }

  // Lets go unless this is the last pin of a retired slot: then nothing happens and false is
  // returned, for owners who decide over the end under a lock of their own.
  [[nodiscard]] bool unpin_unless_last(Record& record) const noexcept {
    std::uint64_t state = record.state.load(std::memory_order_acquire);
    while ((state & kLive) != 0 || (state & kPinMask) != 1) {
      if (record.state.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {
        return true;
      }
    }
    return false;
  }

  // Ends the slot's life. nullopt: it was not live (a second release). True: nobody has it pinned,
  // the caller now owns it.
  [[nodiscard]] std::optional<bool> retire(Record& record,
                                           std::uint32_t generation) const noexcept {
    std::uint64_t state = record.state.load(std::memory_order_acquire);
    for (;;) {
      if ((state >> 32) != generation || (state & kLive) == 0) return std::nullopt;
      if ((state & kBusy) != 0) {
        std::this_thread::yield();
        state = record.state.load(std::memory_order_acquire);
        continue;
      }
      if (record.state.compare_exchange_weak(state, state & ~kLive, std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {
        return (state & kPinMask) == 0;
      }
    }
  }

  // Makes a retired slot live again; for an owner whose own lock says that nobody has freed it.
  void revive(Record& record) const noexcept {
    record.state.fetch_or(kLive, std::memory_order_acq_rel);
  }

  // Takes a live slot that nobody has pinned for a short exclusive job; false when that cannot be.
  [[nodiscard]] bool try_busy(Record& record) const noexcept {
    std::uint64_t state = record.state.load(std::memory_order_acquire);
    if ((state & kLive) == 0 || (state & (kBusy | kPinMask)) != 0) return false;
    return record.state.compare_exchange_strong(state, state | kBusy, std::memory_order_acq_rel);
  }
  void end_busy(Record& record) const noexcept {
    record.state.fetch_and(~kBusy, std::memory_order_release);
  }

  [[nodiscard]] bool is_live(const Record& record) const noexcept {
    return (record.state.load(std::memory_order_acquire) & kLive) != 0;
  }
  [[nodiscard]] std::uint64_t pins(const Record& record) const noexcept {
    return record.state.load(std::memory_order_acquire) & kPinMask;
  }
  [[nodiscard]] std::uint64_t number_of(const Record& record, std::uint32_t slot) const noexcept {
    return SlotNumber::make(
        static_cast<std::uint32_t>(record.state.load(std::memory_order_acquire) >> 32), slot);
  }
  [[nodiscard]] std::uint32_t slot_of(const Record& record) const noexcept {
    return static_cast<std::uint32_t>(&record - &at(0));
  }

  // Gives an owned slot back under a new generation. A slot whose generations are used up is left
  // out for ever: a number is never handed out twice.
  void free(Record& record) noexcept {
    const std::uint64_t generation = (record.state.load(std::memory_order_relaxed) >> 32) + 1;
    if (generation > 0xffffffffULL) return;
    record.state.store(generation << 32, std::memory_order_release);
    MutexLock lock(free_mutex_);
    record.next = free_head_;
    free_head_ = slot_of(record);
  }

 private:
  struct Header {
    std::uint32_t record_bytes;
    std::uint32_t capacity;
    std::atomic<std::uint32_t> high_water;
  };
  static constexpr std::size_t kHeaderBytes = 4096;

  [[nodiscard]] Header& header() const noexcept {
    return *std::launder(reinterpret_cast<Header*>(region_.data()));
  }

  Region region_;
  const std::uint32_t capacity_;
  const std::uint32_t first_;
  Mutex free_mutex_;
  std::uint32_t free_head_ PFS_GUARDED_BY(free_mutex_) = 0;
};

}  // namespace passthroughfs
