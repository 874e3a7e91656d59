// SPDX-License-Identifier: Apache-2.0
#include "wire/dump.h"

#include <fmt/format.h>  // not core.h: clang does not find its format_to in a library of gcc

#include <cstring>
#include <iterator>

namespace passthroughfs::wire {
namespace {

// Everything but printable ASCII is escaped: the line may end in a terminal, and names are bytes.
void append_quoted(std::string& line, std::string_view text) {
  line += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c >= 0x20 && c < 0x7f) {
      line += c;
    } else {
      fmt::format_to(std::back_inserter(line), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  line += '"';
}

// Appends " key=value" to one line. The methods differ in how a value is written.
class Line {
 public:
  explicit Line(std::string& line) : line_(line) {}

  Line& num(std::string_view key, std::uint64_t value) { return put(key, "{}", value); }
  Line& hex(std::string_view key, std::uint64_t value) { return put(key, "{:#x}", value); }
  Line& oct(std::string_view key, std::uint64_t value) { return put(key, "{:#o}", value); }
  Line& text(std::string_view key, std::string_view value) {
    (line_ += ' ').append(key) += '=';
    append_quoted(line_, value);
    return *this;
  }

 private:
  template <typename Value>
  Line& put(std::string_view key, fmt::format_string<const Value&> format, const Value& value) {
    (line_ += ' ').append(key) += '=';
    fmt::format_to(std::back_inserter(line_), format, value);
    return *this;
  }

  std::string& line_;
};

void describe(Line& to, const InitRequest& in) {
  to.num("major", in.major).num("minor", in.minor).num("max_readahead", in.max_readahead);
  to.hex("flags", in.flags);
}
void describe(Line& to, const LookupRequest& in) { to.text("name", in.name); }
void describe(Line& to, const ForgetRequest& in) { to.num("nlookup", in.nlookup); }
void describe(Line& to, const BatchForgetRequest& in) { to.num("count", in.forgets.size()); }
void describe(Line& to, const GetattrRequest& in) {
  if (in.fh) to.hex("fh", *in.fh);
}
void describe(Line& to, const StatxRequest& in) {
  if (in.fh) to.hex("fh", *in.fh);
  to.hex("flags", in.flags).hex("mask", in.mask);
}
void describe(Line& to, const SetattrRequest& in) {
  to.hex("valid", in.in.valid);
  if (in.fh()) to.hex("fh", *in.fh());
  if (in.has(setattr_valid::mode)) to.oct("mode", in.in.mode);
  if (in.has(setattr_valid::uid)) to.num("uid", in.in.uid);
  if (in.has(setattr_valid::gid)) to.num("gid", in.in.gid);
  if (in.has(setattr_valid::size)) to.num("size", in.in.size);
}
void describe(Line& to, const SymlinkRequest& in) {
  to.text("name", in.name).text("target", in.target);
}
void describe(Line& to, const MknodRequest& in) {
  to.text("name", in.name).oct("mode", in.mode).num("rdev", in.rdev).oct("umask", in.umask);
}
void describe(Line& to, const MkdirRequest& in) {
  to.text("name", in.name).oct("mode", in.mode).oct("umask", in.umask);
}
void describe(Line& to, const UnlinkRequest& in) { to.text("name", in.name); }
void describe(Line& to, const RmdirRequest& in) { to.text("name", in.name); }
void describe(Line& to, const RenameRequest& in) {
  to.text("from", in.old_name).num("to_node", in.new_parent).text("to", in.new_name);
  to.hex("flags", in.flags);
}
void describe(Line& to, const LinkRequest& in) {
  to.num("target", in.old_nodeid).text("name", in.name);
}
void describe(Line& to, const OpenRequest& in) {
  to.hex("flags", in.flags).hex("open_flags", in.open_flags);
}
void describe(Line& to, const CreateRequest& in) {
  to.text("name", in.name).hex("flags", in.flags).oct("mode", in.mode).oct("umask", in.umask);
}
void describe(Line& to, const ReadRequest& in) {
  to.hex("fh", in.fh).num("offset", in.offset).num("size", in.size).hex("flags", in.flags);
}
void describe(Line& to, const WriteRequest& in) {
  to.hex("fh", in.fh).num("offset", in.offset).num("size", in.data.size());
  to.hex("flags", in.flags).hex("write_flags", in.write_flags);
}
void describe(Line& to, const ReleaseRequest& in) {
  to.hex("fh", in.fh).hex("flags", in.flags).hex("release_flags", in.release_flags);
}
void describe(Line& to, const FsyncRequest& in) {
  to.hex("fh", in.fh).num("datasync", in.datasync ? 1 : 0);
}
void describe(Line& to, const SetxattrRequest& in) {
  to.text("name", in.name).num("size", in.value.size()).hex("flags", in.flags);
}
void describe(Line& to, const GetxattrRequest& in) {
  to.text("name", in.name).num("size", in.size);
}
void describe(Line& to, const ListxattrRequest& in) { to.num("size", in.size); }
void describe(Line& to, const RemovexattrRequest& in) { to.text("name", in.name); }
void describe(Line& to, const FlushRequest& in) { to.hex("fh", in.fh).hex("owner", in.lock_owner); }
void describe(Line& to, const LockRequest& in) {
  to.hex("fh", in.fh).hex("owner", in.owner).num("start", in.lock.start).num("end", in.lock.end);
  to.num("type", in.lock.type).num("flock", in.flock ? 1 : 0);
}
void describe(Line& to, const AccessRequest& in) { to.oct("mask", in.mask); }
void describe(Line& to, const InterruptRequest& in) { to.num("target", in.unique); }
void describe(Line& to, const BmapRequest& in) {
  to.num("block", in.block).num("blocksize", in.blocksize);
}
void describe(Line& to, const IoctlRequest& in) {
  to.hex("fh", in.fh).hex("cmd", in.cmd).hex("flags", in.flags);
  to.num("in", in.in.size()).num("out", in.out_size);
}
void describe(Line& to, const PollRequest& in) {
  to.hex("fh", in.fh).hex("kh", in.kh).hex("flags", in.flags).hex("events", in.events);
}
void describe(Line& to, const FallocateRequest& in) {
  to.hex("fh", in.fh).num("offset", in.offset).num("length", in.length).hex("mode", in.mode);
}
void describe(Line& to, const LseekRequest& in) {
  to.hex("fh", in.fh).num("offset", in.offset).num("whence", in.whence);
}
void describe(Line& to, const CopyFileRangeRequest& in) {
  to.hex("fh", in.fh_in).num("offset", in.off_in).num("to_node", in.nodeid_out);
  to.hex("to_fh", in.fh_out).num("to_offset", in.off_out).num("length", in.len);
}
void describe(Line&, const ReadlinkRequest&) {}
void describe(Line&, const StatfsRequest&) {}
void describe(Line&, const DestroyRequest&) {}
void describe(Line&, const SyncfsRequest&) {}

template <typename T>
void append(std::string& line, const Request& request, const DecodeOptions& options) {
  const Result<T> decoded = decode<T>(request, options);
  if (!decoded) {
    fmt::format_to(std::back_inserter(line), " malformed: {} in {} bytes",
                   decoded.error().to_string(), request.body.size());
    return;
  }
  Line to(line);
  describe(to, *decoded);
}

void append_arguments(std::string& line, const Request& request, const DecodeOptions& options) {
  switch (request.opcode()) {
    case Opcode::lookup: return append<LookupRequest>(line, request, options);
    case Opcode::forget: return append<ForgetRequest>(line, request, options);
    case Opcode::getattr: return append<GetattrRequest>(line, request, options);
    case Opcode::setattr: return append<SetattrRequest>(line, request, options);
    case Opcode::readlink: return append<ReadlinkRequest>(line, request, options);
    case Opcode::symlink: return append<SymlinkRequest>(line, request, options);
    case Opcode::mknod: return append<MknodRequest>(line, request, options);
    case Opcode::mkdir: return append<MkdirRequest>(line, request, options);
    case Opcode::unlink: return append<UnlinkRequest>(line, request, options);
    case Opcode::rmdir: return append<RmdirRequest>(line, request, options);
    case Opcode::rename:
    case Opcode::rename2: return append<RenameRequest>(line, request, options);
    case Opcode::link: return append<LinkRequest>(line, request, options);
    case Opcode::open:
    case Opcode::opendir: return append<OpenRequest>(line, request, options);
    case Opcode::read:
    case Opcode::readdir:
    case Opcode::readdirplus: return append<ReadRequest>(line, request, options);
    case Opcode::write: return append<WriteRequest>(line, request, options);
    case Opcode::statfs: return append<StatfsRequest>(line, request, options);
    case Opcode::release:
    case Opcode::releasedir: return append<ReleaseRequest>(line, request, options);
    case Opcode::fsync:
    case Opcode::fsyncdir: return append<FsyncRequest>(line, request, options);
    case Opcode::setxattr: return append<SetxattrRequest>(line, request, options);
    case Opcode::getxattr: return append<GetxattrRequest>(line, request, options);
    case Opcode::listxattr: return append<ListxattrRequest>(line, request, options);
    case Opcode::removexattr: return append<RemovexattrRequest>(line, request, options);
    case Opcode::flush: return append<FlushRequest>(line, request, options);
    case Opcode::init: return append<InitRequest>(line, request, options);
    case Opcode::getlk:
    case Opcode::setlk:
    case Opcode::setlkw: return append<LockRequest>(line, request, options);
    case Opcode::access: return append<AccessRequest>(line, request, options);
    case Opcode::create:
    case Opcode::tmpfile: return append<CreateRequest>(line, request, options);
    case Opcode::interrupt: return append<InterruptRequest>(line, request, options);
    case Opcode::bmap: return append<BmapRequest>(line, request, options);
    case Opcode::destroy: return append<DestroyRequest>(line, request, options);
    case Opcode::ioctl: return append<IoctlRequest>(line, request, options);
    case Opcode::poll: return append<PollRequest>(line, request, options);
    case Opcode::batch_forget: return append<BatchForgetRequest>(line, request, options);
    case Opcode::fallocate: return append<FallocateRequest>(line, request, options);
    case Opcode::lseek: return append<LseekRequest>(line, request, options);
    case Opcode::copy_file_range:
    case Opcode::copy_file_range_64: return append<CopyFileRangeRequest>(line, request, options);
    case Opcode::syncfs: return append<SyncfsRequest>(line, request, options);
    case Opcode::statx: return append<StatxRequest>(line, request, options);
    case Opcode::notify_reply:
    case Opcode::setupmapping:
    case Opcode::removemapping: break;  // never asked for by us
  }
  fmt::format_to(std::back_inserter(line), " opcode={} bytes={}", request.header.opcode,
                 request.body.size());
}

}  // namespace

std::string dump(const Request& request, const DecodeOptions& options) {
  const InHeader& header = request.header;
  std::string line =
      fmt::format("{} unique={} node={} uid={} gid={} pid={}", opcode_name(request.opcode()),
                  request.unique(), header.nodeid, header.uid, header.gid, header.pid);
  if (request.resent()) line += " resent";
  append_arguments(line, request, options);
  return line;
}

std::string quoted(std::string_view text) {
  std::string line;
  append_quoted(line, text);
  return line;
}

std::string dump_reply(int error, std::size_t payload_bytes) {
  if (error == 0) return fmt::format("ok {} bytes", payload_bytes);
  const char* name = strerrorname_np(error);
  return name != nullptr ? fmt::format("error={}", name) : fmt::format("error={}", error);
}

}  // namespace passthroughfs::wire
