// SPDX-License-Identifier: Apache-2.0
#include "ops/listing_habits.h"

namespace passthroughfs {

bool ListingHabits::wants_attributes(std::uint32_t thread, NodeId directory,
                                     bool from_start) noexcept {
  Lister& lister = listers_[slot(thread)];
  if (lister.thread.load(std::memory_order_relaxed) != thread) {
    lister.thread.store(thread, std::memory_order_relaxed);
    lister.trusted.store(0, std::memory_order_relaxed);
  }
  const std::uint32_t trusted = lister.trusted.load(std::memory_order_relaxed);
  if (trusted > 0) {
    if (from_start) lister.trusted.store(trusted - 1, std::memory_order_relaxed);
    return true;
  }
  Listing& listing = listings_[slot(directory)];
  if (from_start || listing.directory.load(std::memory_order_relaxed) != directory) {
    listing.thread.store(thread, std::memory_order_relaxed);
    listing.bare.store(0, std::memory_order_relaxed);
    listing.looked_up.store(0, std::memory_order_relaxed);
    listing.directory.store(directory, std::memory_order_relaxed);
  }
  return false;
}

void ListingHabits::listed_bare(NodeId directory, std::uint32_t count) noexcept {
  Listing& listing = listings_[slot(directory)];
  if (listing.directory.load(std::memory_order_relaxed) != directory) return;
  listing.bare.fetch_add(count, std::memory_order_relaxed);
}

void ListingHabits::credit(Listing& listing) noexcept {
  const std::uint32_t looked_up = listing.looked_up.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::uint32_t bare = listing.bare.load(std::memory_order_relaxed);
  if (bare == 0 || looked_up < (bare + 3) / 4) return;
  listing.directory.store(0, std::memory_order_relaxed);  // has said what it had to say
  const std::uint32_t thread = listing.thread.load(std::memory_order_relaxed);
  Lister& lister = listers_[slot(thread)];
  if (lister.thread.load(std::memory_order_relaxed) == thread) {
    lister.trusted.store(kTrusted, std::memory_order_relaxed);
  }
}

}  // namespace passthroughfs
