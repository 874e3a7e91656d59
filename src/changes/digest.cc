// SPDX-License-Identifier: Apache-2.0
#include "changes/digest.h"

#include <sys/xattr.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
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
    std::string path = sys::ProcFdPath(fd).c_str();
    if (*name != '\0') path.append("/").append(name);
    const bool follow = *name == '\0';
    std::array<char, 1024> small;
    const auto list_into = [&](char* out, std::size_t size) {
      return follow ? ::listxattr(path.c_str(), out, size) : ::llistxattr(path.c_str(), out, size);
    };
    ssize_t size = list_into(small.data(), small.size());
    std::vector<char> large;
    const char* list = small.data();
    if (size < 0 && errno == ERANGE) {
      large.resize(kMostXattrBytes);
      size = list_into(large.data(), large.size());
      list = large.data();
    }
    if (size < 0) return errno == EOPNOTSUPP ? kNoXattrs : 0;
    // The order of the list is the file system's affair.
    std::vector<std::string_view> names;
    for (const char* at = list; at < list + size; at += names.back().size() + 1) {
      names.emplace_back(at);
    }
    if (names.empty()) return kNoXattrs;
    std::sort(names.begin(), names.end());
    std::vector<char> value(kMostXattrBytes);
    std::uint64_t hash = kNoXattrs;
    for (const std::string_view one : names) {
      const ssize_t length =
          follow ? ::getxattr(path.c_str(), one.data(), value.data(), value.size())
                 : ::lgetxattr(path.c_str(), one.data(), value.data(), value.size());
      hash = XXH3_64bits_withSeed(one.data(), one.size() + 1, hash);
      if (length > 0) {
        hash = XXH3_64bits_withSeed(value.data(), static_cast<std::size_t>(length), hash);
      }
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
