// SPDX-License-Identifier: Apache-2.0
#include "op.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstdio>

namespace passthroughfs::difftest {
namespace {

using F = Field;
using S = Show;

constexpr ArgSpec kSlot{F::kFd, "slot", S::kNumber};
constexpr ArgSpec kSlot2{F::kFd2, "slot2", S::kNumber};
constexpr ArgSpec kAt{F::kDir, "at", S::kNumber};
constexpr ArgSpec kAt2{F::kDir2, "at2", S::kNumber};
constexpr ArgSpec kPath{F::kPath, "path", S::kText};
constexpr ArgSpec kPath2{F::kPath2, "path2", S::kText};
constexpr ArgSpec kOffset{F::kC, "offset", S::kNumber};
constexpr ArgSpec kLength{F::kA, "length", S::kNumber};
constexpr ArgSpec kMap{F::kA, "map", S::kNumber};

constexpr ArgSpec kOpenArgs[] = {
    kSlot, kAt, kPath, {F::kA, "flags", S::kOpenFlags}, {F::kB, "mode", S::kOctal}};
constexpr ArgSpec kFdArgs[] = {kSlot};
constexpr ArgSpec kDupArgs[] = {kSlot, kSlot2};
constexpr ArgSpec kSendArgs[] = {kSlot, {F::kA, "to_agent", S::kNumber}};
constexpr ArgSpec kSetFlArgs[] = {kSlot, {F::kA, "flags", S::kOpenFlags}};
constexpr ArgSpec kReadArgs[] = {kSlot, kLength};
constexpr ArgSpec kPreadArgs[] = {kSlot, kLength, kOffset};
constexpr ArgSpec kWriteArgs[] = {kSlot, kLength, {F::kB, "pattern", S::kNumber}};
constexpr ArgSpec kPwriteArgs[] = {kSlot, kLength, {F::kB, "pattern", S::kNumber}, kOffset};
constexpr ArgSpec kPwritev2Args[] = {
    kSlot, kLength, {F::kB, "pattern", S::kNumber}, kOffset, {F::kD, "flags", S::kRwFlags}};
constexpr ArgSpec kLseekArgs[] = {
    kSlot, {F::kA, "offset", S::kNumber}, {F::kB, "whence", S::kWhence}};
constexpr ArgSpec kFtruncateArgs[] = {kSlot, kLength};
constexpr ArgSpec kTruncateArgs[] = {kPath, kLength};
constexpr ArgSpec kFallocateArgs[] = {kSlot, {F::kB, "mode", S::kFallocateMode}, kOffset, kLength};
constexpr ArgSpec kCopyArgs[] = {
    kSlot, kSlot2, kLength, {F::kB, "from", S::kNumber}, {F::kC, "to", S::kNumber}};
constexpr ArgSpec kSendfileArgs[] = {kSlot, kSlot2, kLength, {F::kB, "from", S::kNumber}};
constexpr ArgSpec kFadviseArgs[] = {kSlot, kLength, kOffset, {F::kB, "advice", S::kAdvice}};
constexpr ArgSpec kStatArgs[] = {kAt, kPath, {F::kA, "flags", S::kAtFlags}};
constexpr ArgSpec kFchmodArgs[] = {kSlot, {F::kA, "mode", S::kOctal}};
constexpr ArgSpec kChmodArgs[] = {
    kAt, kPath, {F::kA, "mode", S::kOctal}, {F::kB, "flags", S::kAtFlags}};
constexpr ArgSpec kFchownArgs[] = {kSlot, {F::kA, "uid", S::kNumber}, {F::kB, "gid", S::kNumber}};
constexpr ArgSpec kChownArgs[] = {kAt,
                                  kPath,
                                  {F::kA, "uid", S::kNumber},
                                  {F::kB, "gid", S::kNumber},
                                  {F::kC, "flags", S::kAtFlags}};
constexpr ArgSpec kFutimensArgs[] = {kSlot, {F::kA, "atime", S::kTime}, {F::kB, "mtime", S::kTime}};
constexpr ArgSpec kUtimensArgs[] = {kAt,
                                    kPath,
                                    {F::kA, "atime", S::kTime},
                                    {F::kB, "mtime", S::kTime},
                                    {F::kC, "flags", S::kAtFlags}};
constexpr ArgSpec kAccessArgs[] = {
    kAt, kPath, {F::kA, "mode", S::kAccessMode}, {F::kB, "flags", S::kAtFlags}};
constexpr ArgSpec kPathArgs[] = {kPath};
constexpr ArgSpec kSameArgs[] = {kSlot, kAt, kPath};
constexpr ArgSpec kSetFlagsArgs[] = {kSlot, {F::kA, "flags", S::kInodeFlags}};
constexpr ArgSpec kMkdirArgs[] = {kAt, kPath, {F::kA, "mode", S::kOctal}};
constexpr ArgSpec kAtPathArgs[] = {kAt, kPath};
constexpr ArgSpec kLinkArgs[] = {kAt, kPath, kAt2, kPath2, {F::kA, "flags", S::kAtFlags}};
constexpr ArgSpec kLinkFdArgs[] = {kSlot, kAt, kPath};
constexpr ArgSpec kSymlinkArgs[] = {{F::kName, "target", S::kText}, kAt, kPath};
constexpr ArgSpec kReadlinkArgs[] = {kAt, kPath, {F::kA, "size", S::kNumber}};
constexpr ArgSpec kRenameArgs[] = {kAt, kPath, kAt2, kPath2, {F::kA, "flags", S::kRenameFlags}};
constexpr ArgSpec kMknodArgs[] = {
    kAt, kPath, {F::kA, "mode", S::kFileMode}, {F::kB, "rdev", S::kDevice}};
constexpr ArgSpec kUmaskArgs[] = {{F::kA, "mask", S::kOctal}};
constexpr ArgSpec kGetdentsArgs[] = {kSlot, {F::kA, "size", S::kNumber}};
constexpr ArgSpec kSeekdirArgs[] = {kSlot, {F::kA, "after", S::kNumber}};
constexpr ArgSpec kXattrName{F::kName, "name", S::kText};
constexpr ArgSpec kNofollow{F::kD, "nofollow", S::kNumber};
constexpr ArgSpec kSetxattrArgs[] = {
    kPath,    kXattrName, kLength, {F::kB, "pattern", S::kNumber}, {F::kC, "flags", S::kXattrFlags},
    kNofollow};
constexpr ArgSpec kFsetxattrArgs[] = {
    kSlot, kXattrName, kLength, {F::kB, "pattern", S::kNumber}, {F::kC, "flags", S::kXattrFlags}};
constexpr ArgSpec kGetxattrArgs[] = {kPath, kXattrName, {F::kA, "size", S::kNumber}, kNofollow};
constexpr ArgSpec kFgetxattrArgs[] = {kSlot, kXattrName, {F::kA, "size", S::kNumber}};
constexpr ArgSpec kListxattrArgs[] = {kPath, {F::kA, "size", S::kNumber}, kNofollow};
constexpr ArgSpec kFlistxattrArgs[] = {kSlot, {F::kA, "size", S::kNumber}};
constexpr ArgSpec kRemovexattrArgs[] = {kPath, kXattrName, kNofollow};
constexpr ArgSpec kFremovexattrArgs[] = {kSlot, kXattrName};
constexpr ArgSpec kMmapArgs[] = {
    kSlot, kMap, {F::kB, "length", S::kNumber}, kOffset, {F::kD, "flags", S::kMapFlags}};
constexpr ArgSpec kStoreArgs[] = {
    kMap, {F::kB, "length", S::kNumber}, kOffset, {F::kD, "pattern", S::kNumber}};
constexpr ArgSpec kLoadArgs[] = {kMap, {F::kB, "length", S::kNumber}, kOffset};
constexpr ArgSpec kMsyncArgs[] = {kMap, {F::kB, "flags", S::kMsyncFlags}};
constexpr ArgSpec kMapArgs[] = {kMap};
constexpr ArgSpec kLockArgs[] = {kSlot,
                                 {F::kA, "type", S::kLockType},
                                 {F::kB, "start", S::kNumber},
                                 {F::kC, "length", S::kNumber},
                                 {F::kD, "whence", S::kWhence}};
constexpr ArgSpec kFlockArgs[] = {kSlot, {F::kA, "op", S::kFlockOp}};

constexpr std::array<KindSpec, kKinds> kSpecs{{
    {Kind::kOpen, "open", kOpenArgs},
    {Kind::kClose, "close", kFdArgs},
    {Kind::kDup, "dup", kDupArgs},
    {Kind::kSendFd, "send_fd", kSendArgs},
    {Kind::kRecvFd, "recv_fd", kFdArgs},
    {Kind::kGetFl, "getfl", kFdArgs},
    {Kind::kSetFl, "setfl", kSetFlArgs},
    {Kind::kRead, "read", kReadArgs},
    {Kind::kPread, "pread", kPreadArgs},
    {Kind::kReadv, "readv", kReadArgs},
    {Kind::kWrite, "write", kWriteArgs},
    {Kind::kPwrite, "pwrite", kPwriteArgs},
    {Kind::kWritev, "writev", kWriteArgs},
    {Kind::kPwritev2, "pwritev2", kPwritev2Args},
    {Kind::kLseek, "lseek", kLseekArgs},
    {Kind::kFtruncate, "ftruncate", kFtruncateArgs},
    {Kind::kTruncate, "truncate", kTruncateArgs},
    {Kind::kFallocate, "fallocate", kFallocateArgs},
    {Kind::kCopyRange, "copy_file_range", kCopyArgs},
    {Kind::kSendfile, "sendfile", kSendfileArgs},
    {Kind::kFsync, "fsync", kFdArgs},
    {Kind::kFdatasync, "fdatasync", kFdArgs},
    {Kind::kFadvise, "fadvise", kFadviseArgs},
    {Kind::kFstat, "fstat", kFdArgs},
    {Kind::kStat, "stat", kStatArgs},
    {Kind::kStatx, "statx", kStatArgs},
    {Kind::kFchmod, "fchmod", kFchmodArgs},
    {Kind::kChmod, "chmod", kChmodArgs},
    {Kind::kFchown, "fchown", kFchownArgs},
    {Kind::kChown, "chown", kChownArgs},
    {Kind::kFutimens, "futimens", kFutimensArgs},
    {Kind::kUtimens, "utimens", kUtimensArgs},
    {Kind::kAccess, "access", kAccessArgs},
    {Kind::kStatfs, "statfs", kPathArgs},
    {Kind::kFstatfs, "fstatfs", kFdArgs},
    {Kind::kSameFile, "same_file", kSameArgs},
    {Kind::kGetFlags, "getflags", kFdArgs},
    {Kind::kSetFlags, "setflags", kSetFlagsArgs},
    {Kind::kMkdir, "mkdir", kMkdirArgs},
    {Kind::kRmdir, "rmdir", kAtPathArgs},
    {Kind::kUnlink, "unlink", kAtPathArgs},
    {Kind::kLink, "link", kLinkArgs},
    {Kind::kLinkFd, "link_fd", kLinkFdArgs},
    {Kind::kSymlink, "symlink", kSymlinkArgs},
    {Kind::kReadlink, "readlink", kReadlinkArgs},
    {Kind::kRename, "rename", kRenameArgs},
    {Kind::kMknod, "mknod", kMknodArgs},
    {Kind::kUmask, "umask", kUmaskArgs},
    {Kind::kListdir, "listdir", kFdArgs},
    {Kind::kGetdents, "getdents", kGetdentsArgs},
    {Kind::kSeekdir, "seekdir", kSeekdirArgs},
    {Kind::kChdir, "chdir", kPathArgs},
    {Kind::kFchdir, "fchdir", kFdArgs},
    {Kind::kGetcwd, "getcwd", {}},
    {Kind::kSetxattr, "setxattr", kSetxattrArgs},
    {Kind::kFsetxattr, "fsetxattr", kFsetxattrArgs},
    {Kind::kGetxattr, "getxattr", kGetxattrArgs},
    {Kind::kFgetxattr, "fgetxattr", kFgetxattrArgs},
    {Kind::kListxattr, "listxattr", kListxattrArgs},
    {Kind::kFlistxattr, "flistxattr", kFlistxattrArgs},
    {Kind::kRemovexattr, "removexattr", kRemovexattrArgs},
    {Kind::kFremovexattr, "fremovexattr", kFremovexattrArgs},
    {Kind::kMmap, "mmap", kMmapArgs},
    {Kind::kStore, "store", kStoreArgs},
    {Kind::kLoad, "load", kLoadArgs},
    {Kind::kMsync, "msync", kMsyncArgs},
    {Kind::kMunmap, "munmap", kMapArgs},
    {Kind::kSetLk, "setlk", kLockArgs},
    {Kind::kGetLk, "getlk", kLockArgs},
    {Kind::kOfdSetLk, "ofd_setlk", kLockArgs},
    {Kind::kOfdGetLk, "ofd_getlk", kLockArgs},
    {Kind::kFlock, "flock", kFlockArgs},
    {Kind::kSnapshot, "snapshot", {}},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kSpecs.size(); ++i) {
    if (kSpecs[i].kind != static_cast<Kind>(i)) return false;
  }
  return true;
}
static_assert(in_order(), "kSpecs has one row per Kind, in the order of the enum");

// Long runs of one character, as in names of 255 letters, are written as \*c255;
std::string quote(const std::string& text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    std::size_t run = 1;
    while (i + run < text.size() && text[i + run] == c) ++run;
    if (run >= 8) {
      out += "\\*";
      out += c;
      out += std::to_string(run) + ";";
      i += run;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      char hex[8];
      (void)std::snprintf(hex, sizeof hex, "\\x%02x", byte);
      out += hex;
    } else {
      out += c;
    }
    ++i;
  }
  return out + "\"";
}

// Reads a quoted text at the start of `line` and removes it from there.
std::optional<std::string> unquote(std::string_view& line) {
  if (line.empty() || line.front() != '"') return std::nullopt;
  std::string out;
  std::size_t i = 1;
  for (; i < line.size() && line[i] != '"'; ++i) {
    if (line[i] != '\\') {
      out += line[i];
      continue;
    }
    if (++i >= line.size()) return std::nullopt;
    if (line[i] == '*') {
      const std::size_t end = line.find(';', i);
      if (end == std::string_view::npos || i + 2 > end) return std::nullopt;
      const auto count = parse_value(line.substr(i + 2, end - i - 2), Show::kNumber);
      if (!count || *count < 0 || *count > 1 << 16) return std::nullopt;
      out.append(static_cast<std::size_t>(*count), line[i + 1]);
      i = end;
    } else if (line[i] == 'x') {
      int byte = 0;
      if (i + 2 >= line.size()) return std::nullopt;
      const char* digits = line.data() + i + 1;
      if (std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) return std::nullopt;
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += line[i];
    }
  }
  if (i >= line.size()) return std::nullopt;
  line.remove_prefix(i + 1);
  return out;
}

std::string_view take_word(std::string_view& line) {
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

const ArgSpec* find_arg(const KindSpec& kind, std::string_view name) {
  for (const ArgSpec& arg : kind.args) {
    if (name == arg.name) return &arg;
  }
  return nullptr;
}

}  // namespace

const KindSpec& spec(Kind kind) { return kSpecs[static_cast<std::size_t>(kind)]; }

std::int64_t get_number(const Op& op, Field field) {
  switch (field) {
    case Field::kFd: return op.fd;
    case Field::kFd2: return op.fd2;
    case Field::kDir: return op.dir;
    case Field::kDir2: return op.dir2;
    case Field::kA: return op.a;
    case Field::kB: return op.b;
    case Field::kC: return op.c;
    case Field::kD: return op.d;
    default: return 0;
  }
}

void set_number(Op& op, Field field, std::int64_t value) {
  switch (field) {
    case Field::kFd: op.fd = static_cast<int>(value); break;
    case Field::kFd2: op.fd2 = static_cast<int>(value); break;
    case Field::kDir: op.dir = static_cast<int>(value); break;
    case Field::kDir2: op.dir2 = static_cast<int>(value); break;
    case Field::kA: op.a = value; break;
    case Field::kB: op.b = value; break;
    case Field::kC: op.c = value; break;
    case Field::kD: op.d = value; break;
    default: break;
  }
}

const std::string* text_field(const Op& op, Field field) {
  switch (field) {
    case Field::kPath: return &op.path;
    case Field::kPath2: return &op.path2;
    case Field::kName: return &op.name;
    default: return nullptr;
  }
}

std::string* text_field(Op& op, Field field) {
  return const_cast<std::string*>(text_field(static_cast<const Op&>(op), field));
}

std::string to_line(const Op& op) {
  const KindSpec& kind = spec(op.kind);
  std::string line = std::to_string(op.agent) + " " + kind.name;
  for (const ArgSpec& arg : kind.args) {
    if (const std::string* text = text_field(op, arg.field)) {
      line += std::string(" ") + arg.name + "=" + quote(*text);
      continue;
    }
    const std::int64_t value = get_number(op, arg.field);
    const bool is_base = arg.field == Field::kDir || arg.field == Field::kDir2;
    if (is_base && value == kCwd) continue;
    line += std::string(" ") + arg.name + "=" + show_value(value, arg.show);
  }
  if (op.observe) line += " observe";
  return line;
}

std::optional<Op> parse_op(std::string_view line) {
  Op op;
  const auto agent = parse_value(take_word(line), Show::kNumber);
  if (!agent || *agent < 0 || *agent >= kMaxAgents) return std::nullopt;
  op.agent = static_cast<std::uint8_t>(*agent);
  const std::string_view name = take_word(line);
  const KindSpec* kind = nullptr;
  for (const KindSpec& candidate : kSpecs) {
    if (name == candidate.name) kind = &candidate;
  }
  if (kind == nullptr) return std::nullopt;
  op.kind = kind->kind;
  while (true) {
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    if (line.empty()) return op;
    const std::size_t equals = line.find('=');
    if (line.substr(0, equals) == "observe") {
      op.observe = true;
      line.remove_prefix(7);
      continue;
    }
    if (equals == std::string_view::npos) return std::nullopt;
    const ArgSpec* arg = find_arg(*kind, line.substr(0, equals));
    if (arg == nullptr) return std::nullopt;
    line.remove_prefix(equals + 1);
    if (std::string* text = text_field(op, arg->field)) {
      auto value = unquote(line);
      if (!value) return std::nullopt;
      *text = std::move(*value);
    } else {
      const auto value = parse_value(take_word(line), arg->show);
      if (!value) return std::nullopt;
      set_number(op, arg->field, *value);
    }
  }
}

}  // namespace passthroughfs::difftest
