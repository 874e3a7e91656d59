// SPDX-License-Identifier: Apache-2.0
#include "wire/requests.h"

#include <algorithm>
#include <climits>

#include "wire/arg_reader.h"

namespace passthroughfs::wire {
namespace {

// The whole body is one struct.
template <typename In>
Result<In> fetch_only(const Request& request) noexcept {
  ArgReader args(request.body);
  const In in = TRY(args.fetch<In>());
  TRY(args.finish());
  return in;
}

// The whole body is one name.
Result<std::string_view> fetch_only_name(const Request& request) noexcept {
  ArgReader args(request.body);
  const std::string_view name = TRY(args.fetch_name());
  TRY(args.finish());
  return name;
}

Result<std::string_view> fetch_xattr_name(ArgReader& args) noexcept {
  const std::string_view name = TRY(args.fetch_string());
  if (name.empty()) return Err(EINVAL);
  if (name.size() > NAME_MAX) return Err(ERANGE);  // XATTR_NAME_MAX; the errno of setxattr(2)
  return name;
}

}  // namespace

Result<Request> parse_request(ByteSpan bytes) noexcept {
  ArgReader args(bytes);
  Request request{.header = TRY(args.fetch<InHeader>())};
  if (request.header.len != bytes.size() || request.header.unique == 0) return Err(EINVAL);
  const ByteSpan rest = args.rest();
  const std::size_t extensions = std::size_t{request.header.total_extlen} * 8;
  if (extensions > rest.size()) return Err(EINVAL);
  request.body = rest.first(rest.size() - extensions);
  request.extensions = rest.last(extensions);
  return request;
}

// ---- the session -------------------------------------------------------------------------------

// INIT comes before anything is agreed on, so a newer kernel may have made it longer.
template <>
Result<InitRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  if (request.body.size() < kCompatInitInSize) return Err(EINVAL);
  InitIn in{};
  std::memcpy(&in, request.body.data(), std::min(request.body.size(), sizeof in));
  const bool wide = (in.flags & init_flag::init_ext) != 0 && request.body.size() >= sizeof in;
  return InitRequest{.major = in.major,
                     .minor = in.minor,
                     .max_readahead = in.max_readahead,
                     .flags = in.flags | (wide ? std::uint64_t{in.flags2} << 32 : 0)};
}

template <>
Result<DestroyRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  TRY(ArgReader(request.body).finish());
  return DestroyRequest{};
}

template <>
Result<InterruptRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<InterruptIn>(request));
  return InterruptRequest{.unique = in.unique};
}

template <>
Result<StatfsRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  TRY(ArgReader(request.body).finish());
  return StatfsRequest{};
}

template <>
Result<SyncfsRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  TRY(fetch_only<SyncfsIn>(request));
  return SyncfsRequest{};
}

// ---- nodes -------------------------------------------------------------------------------------

template <>
Result<LookupRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  ArgReader peek = args;
  const std::string_view text = TRY(peek.fetch_string());
  const bool dots = text == "." || text == "..";
  const std::string_view name = TRY(dots ? args.fetch_string() : args.fetch_name());
  TRY(args.finish());
  return LookupRequest{.name = name};
}

template <>
Result<ForgetRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<ForgetIn>(request));
  return ForgetRequest{.nlookup = in.nlookup};
}

template <>
Result<BatchForgetRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const auto in = TRY(args.fetch<BatchForgetIn>());
  const ByteSpan rest = args.rest();
  if (rest.size() % sizeof(ForgetOne) != 0 || rest.size() / sizeof(ForgetOne) != in.count) {
    return Err(EINVAL);
  }
  // Queues place requests so that this cannot happen; a span to unaligned structs must not leave.
  if (reinterpret_cast<std::uintptr_t>(rest.data()) % alignof(ForgetOne) != 0) return Err(EINVAL);
  return BatchForgetRequest{
      .forgets = std::span(reinterpret_cast<const ForgetOne*>(rest.data()), in.count)};
}

template <>
Result<GetattrRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<GetattrIn>(request));
  GetattrRequest out;
  if ((in.getattr_flags & kGetattrFh) != 0) out.fh = in.fh;
  return out;
}

template <>
Result<StatxRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<StatxIn>(request));
  StatxRequest out{.fh = std::nullopt, .flags = in.sx_flags, .mask = in.sx_mask};
  if ((in.getattr_flags & kGetattrFh) != 0) out.fh = in.fh;
  return out;
}

template <>
Result<SetattrRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  return SetattrRequest{.in = TRY(fetch_only<SetattrIn>(request))};
}

template <>
Result<AccessRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<AccessIn>(request));
  return AccessRequest{.mask = in.mask};
}

// ---- the tree ----------------------------------------------------------------------------------

template <>
Result<ReadlinkRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  TRY(ArgReader(request.body).finish());
  return ReadlinkRequest{};
}

template <>
Result<SymlinkRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const std::string_view name = TRY(args.fetch_name());
  const std::string_view target = TRY(args.fetch_string());
  TRY(args.finish());
  if (target.empty()) return Err(EINVAL);
  if (target.size() > PATH_MAX - 1) return Err(ENAMETOOLONG);
  return SymlinkRequest{.name = name, .target = target};
}

template <>
Result<MknodRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const auto in = TRY(args.fetch<MknodIn>());
  const std::string_view name = TRY(args.fetch_name());
  TRY(args.finish());
  return MknodRequest{.name = name, .mode = in.mode, .rdev = in.rdev, .umask = in.umask};
}

template <>
Result<MkdirRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const auto in = TRY(args.fetch<MkdirIn>());
  const std::string_view name = TRY(args.fetch_name());
  TRY(args.finish());
  return MkdirRequest{.name = name, .mode = in.mode, .umask = in.umask};
}

template <>
Result<UnlinkRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  return UnlinkRequest{.name = TRY(fetch_only_name(request))};
}

template <>
Result<RmdirRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  return RmdirRequest{.name = TRY(fetch_only_name(request))};
}

template <>
Result<RenameRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  Rename2In in{};
  if (request.opcode() == Opcode::rename2) {
    in = TRY(args.fetch<Rename2In>());
  } else {
    in.newdir = TRY(args.fetch<RenameIn>()).newdir;
  }
  const std::string_view old_name = TRY(args.fetch_name());
  const std::string_view new_name = TRY(args.fetch_name());
  TRY(args.finish());
  return RenameRequest{
      .new_parent = in.newdir, .flags = in.flags, .old_name = old_name, .new_name = new_name};
}

template <>
Result<LinkRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const auto in = TRY(args.fetch<LinkIn>());
  const std::string_view name = TRY(args.fetch_name());
  TRY(args.finish());
  return LinkRequest{.old_nodeid = in.oldnodeid, .name = name};
}

// ---- open files and directories ----------------------------------------------------------------

template <>
Result<OpenRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<OpenIn>(request));
  return OpenRequest{.flags = in.flags, .open_flags = in.open_flags};
}

template <>
Result<CreateRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const auto in = TRY(args.fetch<CreateIn>());
  // Linux calls a file without a name "/".
  const bool unnamed = request.opcode() == Opcode::tmpfile;
  const std::string_view name = TRY(unnamed ? args.fetch_string() : args.fetch_name());
  TRY(args.finish());
  return CreateRequest{.name = name,
                       .flags = in.flags,
                       .mode = in.mode,
                       .umask = in.umask,
                       .open_flags = in.open_flags};
}

template <>
Result<ReleaseRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<ReleaseIn>(request));
  return ReleaseRequest{.fh = in.fh,
                        .lock_owner = in.lock_owner,
                        .flags = in.flags,
                        .release_flags = in.release_flags};
}

template <>
Result<FlushRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<FlushIn>(request));
  return FlushRequest{.fh = in.fh, .lock_owner = in.lock_owner};
}

template <>
Result<FsyncRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<FsyncIn>(request));
  return FsyncRequest{.fh = in.fh, .datasync = (in.fsync_flags & kFsyncFdatasync) != 0};
}

template <>
Result<ReadRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<ReadIn>(request));
  return ReadRequest{.fh = in.fh,
                     .offset = in.offset,
                     .size = in.size,
                     .read_flags = in.read_flags,
                     .flags = in.flags,
                     .lock_owner = in.lock_owner};
}

template <>
Result<WriteRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const auto in = TRY(args.fetch<WriteIn>());
  const ByteSpan data = TRY(args.fetch_bytes(in.size));
  TRY(args.finish());
  return WriteRequest{.fh = in.fh,
                      .offset = in.offset,
                      .write_flags = in.write_flags,
                      .flags = in.flags,
                      .lock_owner = in.lock_owner,
                      .data = data};
}

template <>
Result<FallocateRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<FallocateIn>(request));
  return FallocateRequest{.fh = in.fh, .offset = in.offset, .length = in.length, .mode = in.mode};
}

template <>
Result<LseekRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<LseekIn>(request));
  return LseekRequest{.fh = in.fh, .offset = in.offset, .whence = in.whence};
}

template <>
Result<CopyFileRangeRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<CopyFileRangeIn>(request));
  return CopyFileRangeRequest{.fh_in = in.fh_in,
                              .off_in = in.off_in,
                              .nodeid_out = in.nodeid_out,
                              .fh_out = in.fh_out,
                              .off_out = in.off_out,
                              .len = in.len,
                              .flags = in.flags};
}

template <>
Result<LockRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<LkIn>(request));
  return LockRequest{
      .fh = in.fh, .owner = in.owner, .lock = in.lk, .flock = (in.lk_flags & kLkFlock) != 0};
}

template <>
Result<BmapRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<BmapIn>(request));
  return BmapRequest{.block = in.block, .blocksize = in.blocksize};
}

template <>
Result<IoctlRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const auto in = TRY(args.fetch<IoctlIn>());
  const ByteSpan data = TRY(args.fetch_bytes(in.in_size));
  TRY(args.finish());
  return IoctlRequest{.fh = in.fh,
                      .flags = in.flags,
                      .cmd = in.cmd,
                      .arg = in.arg,
                      .out_size = in.out_size,
                      .in = data};
}

template <>
Result<PollRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<PollIn>(request));
  return PollRequest{.fh = in.fh, .kh = in.kh, .flags = in.flags, .events = in.events};
}

// ---- extended attributes -----------------------------------------------------------------------

template <>
Result<SetxattrRequest> decode(const Request& request, const DecodeOptions& options) noexcept {
  ArgReader args(request.body);
  SetxattrIn in{};
  const std::size_t in_size = options.setxattr_ext ? sizeof in : kCompatSetxattrInSize;
  std::memcpy(&in, TRY(args.fetch_bytes(in_size)).data(), in_size);
  const std::string_view name = TRY(fetch_xattr_name(args));
  const ByteSpan value = TRY(args.fetch_bytes(in.size));
  TRY(args.finish());
  return SetxattrRequest{
      .name = name, .value = value, .flags = in.flags, .setxattr_flags = in.setxattr_flags};
}

template <>
Result<GetxattrRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const auto in = TRY(args.fetch<GetxattrIn>());
  const std::string_view name = TRY(fetch_xattr_name(args));
  TRY(args.finish());
  return GetxattrRequest{.name = name, .size = in.size};
}

template <>
Result<ListxattrRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  const auto in = TRY(fetch_only<GetxattrIn>(request));
  return ListxattrRequest{.size = in.size};
}

template <>
Result<RemovexattrRequest> decode(const Request& request, const DecodeOptions&) noexcept {
  ArgReader args(request.body);
  const std::string_view name = TRY(fetch_xattr_name(args));
  TRY(args.finish());
  return RemovexattrRequest{.name = name};
}

// ---- extensions --------------------------------------------------------------------------------

Result<SupplementaryGroups> decode_supplementary_groups(const Request& request) noexcept {
  SupplementaryGroups groups;
  for (ByteSpan rest = request.extensions; !rest.empty();) {
    const auto header = TRY(ArgReader(rest).fetch<ExtHeader>());
    if (header.size < sizeof header || header.size % 8 != 0 || header.size > rest.size()) {
      return Err(EINVAL);
    }
    if (header.type == kExtGroups) {
      ArgReader args(rest.first(header.size).subspan(sizeof header));
      const auto in = TRY(args.fetch<SuppGroups>());
      // No product of the count: it could wrap where size_t has 32 bits.
      if (in.nr_groups > args.rest().size() / sizeof(std::uint32_t)) return Err(EINVAL);
      groups = SupplementaryGroups(args.rest().first(in.nr_groups * sizeof(std::uint32_t)));
    }
    rest = rest.subspan(header.size);
  }
  return groups;
}

}  // namespace passthroughfs::wire
