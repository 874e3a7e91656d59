// SPDX-License-Identifier: Apache-2.0
//
// One struct per request, and its checked decoder. Names and data are views into the request's
// buffer, valid until the request is answered. Names are never empty, never contain '/' or NUL, and
// are never "." or ".." (except in LOOKUP, where "." and ".." are allowed for NFS export). The
// names of extended attributes and of TMPFILE are not components and may contain '/'.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/abi.h"
#include "wire/opcode.h"

namespace passthroughfs::wire {

// A request as it came from the kernel: the header, and the rest of the bytes (after the header).
// A view of the queue's buffer, valid until its reply.
struct Request {
  InHeader header;
  ByteSpan body;  // without extensions
  ByteSpan extensions;

  [[nodiscard]] Opcode opcode() const noexcept { return static_cast<Opcode>(header.opcode); }
  // The number that INTERRUPT and our tables use: without the resend mark.
  [[nodiscard]] std::uint64_t unique() const noexcept { return header.unique & ~kUniqueResend; }
  [[nodiscard]] bool resent() const noexcept { return (header.unique & kUniqueResend) != 0; }
};

// Checks the header against what was read. EINVAL: shorter than a header, header.len differs from
// `bytes`, extensions reach outside, or unique is 0 (an answer to it would be a notification).
[[nodiscard]] Result<Request> parse_request(ByteSpan bytes) noexcept;

// What decoding depends on besides the bytes; fixed by INIT.
struct DecodeOptions {
  bool setxattr_ext = true;
};

struct InitRequest {
  std::uint32_t major, minor, max_readahead;
  std::uint64_t flags;
};
struct LookupRequest {
  std::string_view name;
};
struct ForgetRequest {
  std::uint64_t nlookup;
};
struct BatchForgetRequest {
  std::span<const ForgetOne> forgets;
};
struct GetattrRequest {
  std::optional<std::uint64_t> fh;
};
struct StatxRequest {
  std::optional<std::uint64_t> fh;
  std::uint32_t flags, mask;
};
struct SetattrRequest {
  SetattrIn in;
  [[nodiscard]] bool has(std::uint32_t bit) const noexcept { return (in.valid & bit) != 0; }
  [[nodiscard]] std::optional<std::uint64_t> fh() const noexcept {
    if (has(setattr_valid::fh)) return in.fh;
    return std::nullopt;
  }
};
struct ReadlinkRequest {};
struct SymlinkRequest {
  std::string_view name;
  std::string_view target;
};
struct MknodRequest {
  std::string_view name;
  std::uint32_t mode, rdev, umask;
};
struct MkdirRequest {
  std::string_view name;
  std::uint32_t mode, umask;
};
struct UnlinkRequest {
  std::string_view name;
};
struct RmdirRequest {
  std::string_view name;
};
struct RenameRequest {  // RENAME and RENAME2
  std::uint64_t new_parent;
  std::uint32_t flags;
  std::string_view old_name, new_name;
};
struct LinkRequest {
  std::uint64_t old_nodeid;
  std::string_view name;
};
struct OpenRequest {  // OPEN and OPENDIR
  std::uint32_t flags, open_flags;
};
struct CreateRequest {  // CREATE and TMPFILE (whose name means nothing)
  std::string_view name;
  std::uint32_t flags, mode, umask, open_flags;
};
struct ReadRequest {  // READ, READDIR and READDIRPLUS
  std::uint64_t fh, offset;
  std::uint32_t size, read_flags, flags;
  std::uint64_t lock_owner;
};
struct WriteRequest {
  std::uint64_t fh, offset;
  std::uint32_t write_flags, flags;
  std::uint64_t lock_owner;
  ByteSpan data;
};
struct StatfsRequest {};
struct ReleaseRequest {  // RELEASE and RELEASEDIR
  std::uint64_t fh, lock_owner;
  std::uint32_t flags, release_flags;
};
struct FsyncRequest {  // FSYNC and FSYNCDIR
  std::uint64_t fh;
  bool datasync;
};
struct SetxattrRequest {
  std::string_view name;
  ByteSpan value;
  std::uint32_t flags, setxattr_flags;
};
struct GetxattrRequest {
  std::string_view name;
  std::uint32_t size;  // 0: only the length is wanted
};
struct ListxattrRequest {
  std::uint32_t size;
};
struct RemovexattrRequest {
  std::string_view name;
};
struct FlushRequest {
  std::uint64_t fh, lock_owner;
};
struct LockRequest {  // GETLK, SETLK, SETLKW
  std::uint64_t fh, owner;
  FileLock lock;
  bool flock;
};
struct AccessRequest {
  std::uint32_t mask;
};
struct InterruptRequest {
  std::uint64_t unique;
};
struct BmapRequest {
  std::uint64_t block;
  std::uint32_t blocksize;
};
struct DestroyRequest {};
struct IoctlRequest {
  std::uint64_t fh;
  std::uint32_t flags, cmd;
  std::uint64_t arg;
  std::uint32_t out_size;
  ByteSpan in;
};
struct PollRequest {
  std::uint64_t fh, kh;
  std::uint32_t flags, events;
};
struct FallocateRequest {
  std::uint64_t fh, offset, length;
  std::uint32_t mode;
};
struct LseekRequest {
  std::uint64_t fh, offset;
  std::uint32_t whence;
};
struct CopyFileRangeRequest {  // both widths
  std::uint64_t fh_in, off_in, nodeid_out, fh_out, off_out, len, flags;
};
struct SyncfsRequest {};

// The decoder of each request: a specialisation per struct above. EINVAL for input that is short,
// too long, unterminated or nonsensical; ENAMETOOLONG for a name over 255 bytes or a link target
// over PATH_MAX - 1 (the kernel lets names of up to PATH_MAX through); ERANGE for the name of an
// extended attribute over 255 bytes. Never reads outside the request. An opcode that several
// structs could stand for is not checked, save where it decides the layout (RENAME, RENAME2,
// TMPFILE).
template <typename T>
[[nodiscard]] Result<T> decode(const Request& request, const DecodeOptions& options) noexcept;

// Every T there is. A specialisation has to be declared before it is used.
template <>
Result<InitRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<LookupRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<ForgetRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<BatchForgetRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<GetattrRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<StatxRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<SetattrRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<ReadlinkRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<SymlinkRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<MknodRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<MkdirRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<UnlinkRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<RmdirRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<RenameRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<LinkRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<OpenRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<CreateRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<ReadRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<WriteRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<StatfsRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<ReleaseRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<FsyncRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<SetxattrRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<GetxattrRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<ListxattrRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<RemovexattrRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<FlushRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<LockRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<AccessRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<InterruptRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<BmapRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<DestroyRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<IoctlRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<PollRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<FallocateRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<LseekRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<CopyFileRangeRequest> decode(const Request& request, const DecodeOptions& options) noexcept;
template <>
Result<SyncfsRequest> decode(const Request& request, const DecodeOptions& options) noexcept;

// The groups of a SuppGroups extension: a view of the request. Numbers are copied out one by one,
// because the extension follows a name of any length and so is not aligned.
class SupplementaryGroups {
 public:
  SupplementaryGroups() noexcept = default;
  // Precondition: the size is a multiple of 4.
  explicit SupplementaryGroups(ByteSpan gids) noexcept : gids_(gids) {}

  [[nodiscard]] std::size_t size() const noexcept { return gids_.size() / sizeof(std::uint32_t); }
  [[nodiscard]] bool empty() const noexcept { return gids_.empty(); }
  [[nodiscard]] std::uint32_t operator[](std::size_t index) const noexcept {
    std::uint32_t gid = 0;
    std::memcpy(&gid, gids_.subspan(index * sizeof gid, sizeof gid).data(), sizeof gid);
    return gid;
  }

 private:
  ByteSpan gids_;
};

// The supplementary groups that a create request carries (FUSE_CREATE_SUPP_GROUP), if any; Linux
// sends at most one, the parent directory's. EINVAL when the extensions are malformed.
[[nodiscard]] Result<SupplementaryGroups> decode_supplementary_groups(
    const Request& request) noexcept;

}  // namespace passthroughfs::wire
