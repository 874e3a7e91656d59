// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "wire/abi.h"
#include "wire/opcode.h"

namespace passthroughfs::test {

using Bytes = std::vector<std::byte>;

// One after the other: text with a NUL behind it, byte spans and plain structs as they are.
inline void append_part(Bytes& out, ByteSpan part) {
  out.insert(out.end(), part.begin(), part.end());
}
inline void append_part(Bytes& out, std::string_view text) {
  append_part(out, passthroughfs::bytes_of(text));
  out.push_back(std::byte{0});
}
template <typename T>
void append_part(Bytes& out, const T& value) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    append_part(out, std::string_view(value));
  } else if constexpr (std::is_convertible_v<const T&, ByteSpan>) {
    append_part(out, ByteSpan(value));
  } else {
    append_part(out, passthroughfs::bytes_of(value));
  }
}
template <typename... Parts>
[[nodiscard]] Bytes join(const Parts&... parts) {
  Bytes out;
  (append_part(out, parts), ...);
  return out;
}

// A request as the kernel makes it, before it has a number. All fields may be bent by a test.
struct RequestBytes {
  wire::Opcode opcode = wire::Opcode::lookup;
  std::uint64_t nodeid = wire::kRootNodeId;
  Bytes body;
  Bytes extensions;  // a multiple of 8 bytes
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t pid = 1;

  // As another caller: `kernel.call(requests::unlink(1, "a").as(1000, 1000))`.
  [[nodiscard]] RequestBytes as(std::uint32_t new_uid, std::uint32_t new_gid) const {
    RequestBytes out = *this;
    out.uid = new_uid;
    out.gid = new_gid;
    return out;
  }
  // With the extension that carries supplementary groups.
  [[nodiscard]] RequestBytes with_groups(const std::vector<std::uint32_t>& gids) const;

  // The whole message, header included.
  [[nodiscard]] Bytes encode(std::uint64_t unique) const;
};

// A well-formed request of each kind.
namespace requests {

RequestBytes make(wire::Opcode opcode, std::uint64_t nodeid, Bytes body = {});

RequestBytes init(std::uint64_t flags, std::uint32_t minor = wire::kMinor);
RequestBytes destroy();
RequestBytes interrupt(std::uint64_t unique);
RequestBytes statfs(std::uint64_t node = wire::kRootNodeId);
RequestBytes syncfs();

RequestBytes lookup(std::uint64_t parent, std::string_view name);
RequestBytes forget(std::uint64_t node, std::uint64_t nlookup);
RequestBytes batch_forget(const std::vector<wire::ForgetOne>& forgets);
RequestBytes getattr(std::uint64_t node);
RequestBytes getattr(std::uint64_t node, std::uint64_t fh);
RequestBytes statx(std::uint64_t node, std::uint32_t mask);
RequestBytes setattr(std::uint64_t node, const wire::SetattrIn& in);
RequestBytes access(std::uint64_t node, std::uint32_t mask);

RequestBytes readlink(std::uint64_t node);
RequestBytes symlink(std::uint64_t parent, std::string_view name, std::string_view target);
RequestBytes mknod(std::uint64_t parent, std::string_view name, std::uint32_t mode,
                   std::uint32_t rdev = 0);
RequestBytes mkdir(std::uint64_t parent, std::string_view name, std::uint32_t mode);
RequestBytes unlink(std::uint64_t parent, std::string_view name);
RequestBytes rmdir(std::uint64_t parent, std::string_view name);
RequestBytes rename(std::uint64_t parent, std::string_view name, std::uint64_t new_parent,
                    std::string_view new_name);
RequestBytes rename2(std::uint64_t parent, std::string_view name, std::uint64_t new_parent,
                     std::string_view new_name, std::uint32_t flags);
RequestBytes link(std::uint64_t node, std::uint64_t new_parent, std::string_view new_name);

RequestBytes open(std::uint64_t node, std::uint32_t flags);
RequestBytes create(std::uint64_t parent, std::string_view name, std::uint32_t flags,
                    std::uint32_t mode);
RequestBytes tmpfile(std::uint64_t parent, std::uint32_t flags, std::uint32_t mode);
RequestBytes read(std::uint64_t node, std::uint64_t fh, std::uint64_t offset, std::uint32_t size,
                  std::uint32_t flags = 0);
RequestBytes write(std::uint64_t node, std::uint64_t fh, std::uint64_t offset, ByteSpan data,
                   std::uint32_t flags = 1);
RequestBytes flush(std::uint64_t node, std::uint64_t fh, std::uint64_t lock_owner = 0);
RequestBytes release(std::uint64_t node, std::uint64_t fh, std::uint32_t flags = 0);
RequestBytes fsync(std::uint64_t node, std::uint64_t fh, bool datasync = false);
RequestBytes fallocate(std::uint64_t node, std::uint64_t fh, std::uint64_t offset,
                       std::uint64_t length, std::uint32_t mode);
RequestBytes lseek(std::uint64_t node, std::uint64_t fh, std::uint64_t offset,
                   std::uint32_t whence);
// Either width, by `opcode`.
RequestBytes copy_file_range(wire::Opcode opcode, std::uint64_t node,
                             const wire::CopyFileRangeIn& in);
// GETLK, SETLK or SETLKW.
RequestBytes lock(wire::Opcode opcode, std::uint64_t node, const wire::LkIn& in);
RequestBytes bmap(std::uint64_t node, std::uint64_t block, std::uint32_t blocksize);
RequestBytes ioctl(std::uint64_t node, std::uint64_t fh, std::uint32_t command, ByteSpan in,
                   std::uint32_t out_size);
RequestBytes poll(std::uint64_t node, std::uint64_t fh, std::uint64_t kh, std::uint32_t events);

RequestBytes opendir(std::uint64_t node, std::uint32_t flags = 0);
// READDIR or READDIRPLUS.
RequestBytes readdir(wire::Opcode opcode, std::uint64_t node, std::uint64_t fh,
                     std::uint64_t offset, std::uint32_t size);
RequestBytes releasedir(std::uint64_t node, std::uint64_t fh);
RequestBytes fsyncdir(std::uint64_t node, std::uint64_t fh, bool datasync = false);

RequestBytes setxattr(std::uint64_t node, std::string_view name, ByteSpan value,
                      std::uint32_t flags = 0);
RequestBytes setxattr_compat(std::uint64_t node, std::string_view name, ByteSpan value,
                             std::uint32_t flags = 0);
RequestBytes getxattr(std::uint64_t node, std::string_view name, std::uint32_t size);
RequestBytes listxattr(std::uint64_t node, std::uint32_t size);
RequestBytes removexattr(std::uint64_t node, std::string_view name);

}  // namespace requests

// One well-formed request of every kind that we decode, named. For tables and fuzz corpora.
struct Sample {
  std::string_view name;
  RequestBytes request;
};
[[nodiscard]] std::vector<Sample> sample_of_each_request();

}  // namespace passthroughfs::test
