// SPDX-License-Identifier: Apache-2.0
#include "changes/digest.h"

#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <vector>

#include "source/sys.h"

namespace passthroughfs {
namespace {

constexpr std::size_t kMostXattrBytes = 64U << 10;  // of a list or a value, as the kernel limits it

Digest never_zero(std::uint64_t hash) noexcept { return hash == 0 ? 1 : hash; }

}  // namespace

Digest digest_xattrs(BorrowedFd fd, const char* name) noexcept {
  try {
    const bool itself = *name == '\0';
    const auto list_into = [&](MutableByteSpan out) {
      return itself ? sys::list_xattr(fd, out) : sys::list_xattr_at(fd, name, out);
    };
    std::array<std::byte, 1024> small;
    auto size = list_into(small);
    std::vector<std::byte> large;
    const std::byte* bytes = small.data();
    if (!size && size.error() == ERANGE) {
      large.resize(kMostXattrBytes);
      size = list_into(large);
      bytes = large.data();
    }
    if (!size) return size.error() == EOPNOTSUPP ? kNoXattrs : 0;
    // The order of the list is the file system's affair.
    const char* const list = reinterpret_cast<const char*>(bytes);
    std::vector<std::string_view> names;
    for (const char* at = list; at < list + *size; at += names.back().size() + 1) {
      names.emplace_back(at);
    }
    if (names.empty()) return kNoXattrs;
    std::sort(names.begin(), names.end());
    std::vector<std::byte> value(kMostXattrBytes);
    std::uint64_t hash = kNoXattrs;
    for (const std::string_view one : names) {
      const auto length = itself ? sys::get_xattr(fd, one.data(), value)
                                 : sys::get_xattr_at(fd, name, one.data(), value);
      hash = XXH3_64bits_withSeed(one.data(), one.size() + 1, hash);
      if (length && *length > 0) hash = XXH3_64bits_withSeed(value.data(), *length, hash);
    }
    return never_zero(hash);
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

Digest digest_content(BorrowedFd fd, std::uint64_t most) noexcept {
  try {
    constexpr std::size_t kPiece = 128U << 10;
    std::array<std::byte, 4096> small;
    std::vector<std::byte> large;
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    MutableByteSpan room = small;
    for (std::uint64_t at = 0;;) {
      const ssize_t got = ::pread(fd.get(), room.data(), room.size(), static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return 0;
      if (got == 0) break;
      at += static_cast<std::uint64_t>(got);
      if (at > most) return 0;
      XXH3_64bits_update(&state, room.data(), static_cast<std::size_t>(got));
      if (large.empty()) {
        large.resize(kPiece);
        room = large;
      }
    }
    return never_zero(XXH3_64bits_digest(&state));
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

}  // namespace passthroughfs
