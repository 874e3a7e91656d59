// SPDX-License-Identifier: Apache-2.0
#include "wire/dirent.h"

#include <cstring>

namespace passthroughfs::wire {
namespace {

constexpr std::size_t kEntryAlignment = 8;

// Writes a Dirent with its name, and zeroes up to the alignment: what is left in the buffer from an
// earlier answer must not reach the client.
void put(std::byte* to, std::uint64_t ino, std::uint64_t offset, std::uint32_t type,
         std::string_view name) noexcept {
  const Dirent dirent{
      .ino = ino, .off = offset, .namelen = static_cast<std::uint32_t>(name.size()), .type = type};
  std::memcpy(to, &dirent, sizeof dirent);
  to += sizeof dirent;
  if (!name.empty()) std::memcpy(to, name.data(), name.size());
  const std::size_t padded = align_up(name.size(), kEntryAlignment);
  std::memset(to + name.size(), 0, padded - name.size());
}

std::size_t entry_size(std::size_t name_length, bool plus) noexcept {
  return (plus ? sizeof(DirentPlus) : sizeof(Dirent)) + align_up(name_length, kEntryAlignment);
}

}  // namespace

// The kernel stops at an entry whose padding is missing, so the padding has to fit as well.
bool DirentWriter::fits(std::size_t name_length, bool plus) const noexcept {
  const std::size_t room = buffer_.size() - used_;
  return name_length <= room && entry_size(name_length, plus) <= room;
}

bool DirentWriter::add(std::uint64_t ino, std::uint64_t offset, std::uint32_t type,
                       std::string_view name) noexcept {
  if (!fits(name.size(), false)) return false;
  put(buffer_.data() + used_, ino, offset, type, name);
  used_ += entry_size(name.size(), false);
  return true;
}

bool DirentWriter::add_plus(const EntryOut& entry, std::uint64_t ino, std::uint64_t offset,
                            std::uint32_t type, std::string_view name) noexcept {
  if (!fits(name.size(), true)) return false;
  std::byte* to = buffer_.data() + used_;
  std::memcpy(to, &entry, sizeof entry);
  put(to + sizeof entry, ino, offset, type, name);
  used_ += entry_size(name.size(), true);
  return true;
}

}  // namespace passthroughfs::wire
