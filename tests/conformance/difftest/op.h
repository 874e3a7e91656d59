// SPDX-License-Identifier: Apache-2.0
//
// One call of a random sequence, as data: what the generator makes, the agents execute, the
// shrinker shortens and the ops file holds. Everything an operation needs is in it, nothing depends
// on an earlier result, so any part of a sequence is a sequence.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace passthroughfs::difftest {

inline constexpr int kSlots = 16;    // open descriptors of an agent
inline constexpr int kMapSlots = 4;  // mappings of an agent
inline constexpr int kCwd = -1;      // as Op::dir: relative to the working directory
inline constexpr int kMaxAgents = 8;

enum class Kind : std::uint8_t {
  // descriptors
  kOpen,
  kClose,
  kDup,
  kSendFd,
  kRecvFd,
  kGetFl,
  kSetFl,
  // data
  kRead,
  kPread,
  kReadv,
  kWrite,
  kPwrite,
  kWritev,
  kPwritev2,
  kLseek,
  kFtruncate,
  kTruncate,
  kFallocate,
  kCopyRange,
  kSendfile,
  kFsync,
  kFdatasync,
  kFadvise,
  // attributes
  kFstat,
  kStat,
  kStatx,
  kFchmod,
  kChmod,
  kFchown,
  kChown,
  kFutimens,
  kUtimens,
  kAccess,
  kStatfs,
  kFstatfs,
  kSameFile,
  kGetFlags,
  kSetFlags,
  // names
  kMkdir,
  kRmdir,
  kUnlink,
  kLink,
  kLinkFd,
  kSymlink,
  kReadlink,
  kRename,
  kMknod,
  kUmask,
  // directories
  kListdir,
  kGetdents,
  kSeekdir,
  kChdir,
  kFchdir,
  kGetcwd,
  // extended attributes and ACLs
  kSetxattr,
  kFsetxattr,
  kGetxattr,
  kFgetxattr,
  kListxattr,
  kFlistxattr,
  kRemovexattr,
  kFremovexattr,
  // mappings
  kMmap,
  kStore,
  kLoad,
  kMsync,
  kMunmap,
  // locks
  kSetLk,
  kGetLk,
  kOfdSetLk,
  kOfdGetLk,
  kFlock,
  // the whole tree
  kSnapshot,
  kCount
};
inline constexpr std::size_t kKinds = static_cast<std::size_t>(Kind::kCount);

struct Op {
  Kind kind = Kind::kStat;
  std::uint8_t agent = 0;
  // The executor also says which times moved on the file and on its directory.
  bool observe = false;
  int fd = 0, fd2 = 0;          // slots
  int dir = kCwd, dir2 = kCwd;  // slot of the directory that path, path2 start from, or kCwd
  std::string path, path2;
  std::string name;  // xattr name, symlink target
  std::int64_t a = 0, b = 0, c = 0, d = 0;
};

enum class Field : std::uint8_t { kFd, kFd2, kDir, kDir2, kPath, kPath2, kName, kA, kB, kC, kD };

// How a value is written in an ops file and in reports.
enum class Show : std::uint8_t {
  kNumber,
  kOctal,
  kText,
  kOpenFlags,
  kAtFlags,
  kAccessMode,
  kWhence,
  kFallocateMode,
  kRenameFlags,
  kRwFlags,
  kAdvice,
  kTime,
  kDevice,
  kMapFlags,
  kMsyncFlags,
  kLockType,
  kFlockOp,
  kXattrFlags,
  kInodeFlags,
  kFileMode
};

struct ArgSpec {
  Field field;
  const char* name;
  Show show;
};

struct KindSpec {
  Kind kind;
  const char* name;
  std::span<const ArgSpec> args;
};

const KindSpec& spec(Kind kind);

// The field of `op` as a number or text; null when it is the other sort.
std::int64_t get_number(const Op& op, Field field);
void set_number(Op& op, Field field, std::int64_t value);
std::string* text_field(Op& op, Field field);
const std::string* text_field(const Op& op, Field field);

// One line without '\n', readable and complete: `1 open slot=3 path="d/a" flags=O_RDWR|O_CREAT
// ...`. parse_op(to_line(op)) is the same operation. Fields that the kind does not use are not
// kept.
std::string to_line(const Op& op);
// Nothing when the line is not an operation.
std::optional<Op> parse_op(std::string_view line);

// Symbolic form of a number as `show` says; parse_value reads it (and plain numbers) back.
std::string show_value(std::int64_t value, Show show);
std::optional<std::int64_t> parse_value(std::string_view text, Show show);
// The single bits that a flag word of this sort is made of, for the shrinker. Empty for numbers.
bool is_flag_word(Show show);

}  // namespace passthroughfs::difftest
