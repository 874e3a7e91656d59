// SPDX-License-Identifier: Apache-2.0
#include "session/continuation.h"

#include <fmt/core.h>

#include <charconv>
#include <cstring>

#include "session/limits.h"
#include "table/handle_table.h"
#include "table/inode_table.h"
#include "table/ledger.h"
#include "table/lock_owners.h"

namespace passthroughfs {
namespace {

// To be raised whenever memory that processes share changes its meaning and not its size: the
// records of the tables, what a state or a phase stands for, RegionList, the change log.
constexpr int kMeaning = 3;

constexpr const char* kReply = "init_reply";
constexpr const char* kFlags = "init_flags";
constexpr const char* kSetxattrExt = "init_setxattr_ext";

}  // namespace

std::string memory_layout() {
  return fmt::format(
      "{}: {} inodes of {}, {} handles of {}, {} lock owners of {}, {} ledgers of {}", kMeaning,
      kMostInodes, sizeof(Inode), kMostHandles, sizeof(Handle), kMostLockOwners,
      sizeof(LockOwnerRecord), kMostLedgers, sizeof(Ledger));
}

void put_negotiated(Handover& handover, const Negotiated& settled) {
  std::string hex;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&settled.reply);
  for (std::size_t i = 0; i < sizeof settled.reply; ++i) hex += fmt::format("{:02x}", bytes[i]);
  handover.put_text(kReply, hex);
  handover.put_number(kFlags, settled.flags);
  handover.put_number(kSetxattrExt, settled.decode.setxattr_ext ? 1 : 0);
}

std::optional<Negotiated> get_negotiated(const Handover& handover) {
  const auto hex = handover.text(kReply);
  const auto flags = handover.number(kFlags);
  const auto setxattr_ext = handover.number(kSetxattrExt);
  Negotiated out;
  if (!hex || !flags || !setxattr_ext || hex->size() != 2 * sizeof out.reply) return std::nullopt;
  auto* bytes = reinterpret_cast<unsigned char*>(&out.reply);
  for (std::size_t i = 0; i < sizeof out.reply; ++i) {
    const char* const digits = hex->data() + 2 * i;
    if (std::from_chars(digits, digits + 2, bytes[i], 16).ptr != digits + 2) return std::nullopt;
  }
  out.flags = *flags;
  out.decode.setxattr_ext = *setxattr_ext != 0;
  return out;
}

}  // namespace passthroughfs
