// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "table/inode_table.h"

namespace passthroughfs {

// Whether a listing should bring the attributes of its entries along (READDIRPLUS with entries) or
// only the names. With attributes each entry costs the daemon a lookup; without, each entry that
// the client then looks at costs a request, which is several times more. Nobody says beforehand
// which it will be, but a program that looked at what it listed in one directory will do so in the
// next (find, du, git status, rsync), and one that did not, will not (ls, a shell's completion).
//
// So: the first directory that a thread lists comes without. If it then looks at a quarter of the
// entries, its next kTrusted directories come with attributes; then one without, to ask again.
//
// Small tables that forget: a wrong guess costs time, never correctness. Thread-safe, lock-free.
class ListingHabits {
 public:
  static constexpr std::uint32_t kTrusted = 31;

  // A thread begins to list (`from_start`) or goes on listing a directory: true to bring
  // attributes.
  bool wants_attributes(std::uint32_t thread, NodeId directory, bool from_start) noexcept;
  // `count` entries of the directory were sent without attributes.
  void listed_bare(NodeId directory, std::uint32_t count) noexcept;
  // An entry of the directory was looked up.
  void looked_up(NodeId directory) noexcept {
    Listing& listing = listings_[slot(directory)];
    if (listing.directory.load(std::memory_order_relaxed) == directory) credit(listing);
  }

 private:
  static constexpr std::size_t kSlots = 64;
  struct Lister {
    std::atomic<std::uint32_t> thread{0};
    std::atomic<std::uint32_t> trusted{0};  // directories still to come with attributes
  };
  // A directory that was listed without attributes.
  struct Listing {
    std::atomic<NodeId> directory{0};
    std::atomic<std::uint32_t> thread{0};
    std::atomic<std::uint32_t> bare{0}, looked_up{0};
  };

  static std::size_t slot(std::uint64_t key) noexcept {
    return (key * 0x9E3779B97F4A7C15ULL) >> 58;  // the top 6 bits
  }
  void credit(Listing& listing) noexcept;

  std::array<Lister, kSlots> listers_{};
  std::array<Listing, kSlots> listings_{};
};

}  // namespace passthroughfs
