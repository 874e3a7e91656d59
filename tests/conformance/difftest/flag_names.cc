// SPDX-License-Identifier: Apache-2.0
//
// Numbers of the system call interface as the names that people read.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <span>

#include "op.h"

namespace passthroughfs::difftest {
namespace {

struct Flag {
  std::int64_t value;
  const char* name;
};

// Names that stand for several bits come before names for single ones.
constexpr Flag kOpenFlags[] = {
    {O_TMPFILE, "O_TMPFILE"},   {O_SYNC, "O_SYNC"},       {O_RDWR, "O_RDWR"},
    {O_WRONLY, "O_WRONLY"},     {O_CREAT, "O_CREAT"},     {O_EXCL, "O_EXCL"},
    {O_TRUNC, "O_TRUNC"},       {O_APPEND, "O_APPEND"},   {O_NONBLOCK, "O_NONBLOCK"},
    {O_DSYNC, "O_DSYNC"},       {O_DIRECT, "O_DIRECT"},   {O_DIRECTORY, "O_DIRECTORY"},
    {O_NOFOLLOW, "O_NOFOLLOW"}, {O_NOATIME, "O_NOATIME"}, {O_PATH, "O_PATH"},
    {O_CLOEXEC, "O_CLOEXEC"}};
constexpr Flag kAtFlags[] = {{AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"},
                             {AT_EACCESS, "AT_EACCESS"},
                             {AT_SYMLINK_FOLLOW, "AT_SYMLINK_FOLLOW"},
                             {AT_EMPTY_PATH, "AT_EMPTY_PATH"}};
constexpr Flag kAccessModes[] = {{R_OK, "R_OK"}, {W_OK, "W_OK"}, {X_OK, "X_OK"}};
constexpr Flag kWhences[] = {{SEEK_CUR, "SEEK_CUR"},
                             {SEEK_END, "SEEK_END"},
                             {SEEK_DATA, "SEEK_DATA"},
                             {SEEK_HOLE, "SEEK_HOLE"},
                             {SEEK_SET, "SEEK_SET"}};
constexpr Flag kFallocateModes[] = {
    {FALLOC_FL_KEEP_SIZE, "KEEP_SIZE"},           {FALLOC_FL_PUNCH_HOLE, "PUNCH_HOLE"},
    {FALLOC_FL_COLLAPSE_RANGE, "COLLAPSE_RANGE"}, {FALLOC_FL_ZERO_RANGE, "ZERO_RANGE"},
    {FALLOC_FL_INSERT_RANGE, "INSERT_RANGE"},     {FALLOC_FL_UNSHARE_RANGE, "UNSHARE_RANGE"}};
constexpr Flag kRenameFlags[] = {{1, "NOREPLACE"}, {2, "EXCHANGE"}, {4, "WHITEOUT"}};
constexpr Flag kRwFlags[] = {{RWF_HIPRI, "RWF_HIPRI"},
                             {RWF_DSYNC, "RWF_DSYNC"},
                             {RWF_SYNC, "RWF_SYNC"},
                             {RWF_NOWAIT, "RWF_NOWAIT"},
                             {RWF_APPEND, "RWF_APPEND"}};
constexpr Flag kAdvices[] = {{POSIX_FADV_RANDOM, "RANDOM"},
                             {POSIX_FADV_SEQUENTIAL, "SEQUENTIAL"},
                             {POSIX_FADV_WILLNEED, "WILLNEED"},
                             {POSIX_FADV_DONTNEED, "DONTNEED"},
                             {POSIX_FADV_NORMAL, "NORMAL"}};
// PROT_ bits below, MAP_ bits shifted by 8.
constexpr Flag kMapFlags[] = {{PROT_READ, "PROT_READ"},
                              {PROT_WRITE, "PROT_WRITE"},
                              {MAP_SHARED << 8, "MAP_SHARED"},
                              {MAP_PRIVATE << 8, "MAP_PRIVATE"}};
constexpr Flag kMsyncFlags[] = {
    {MS_ASYNC, "MS_ASYNC"}, {MS_INVALIDATE, "MS_INVALIDATE"}, {MS_SYNC, "MS_SYNC"}};
constexpr Flag kLockTypes[] = {{F_WRLCK, "F_WRLCK"}, {F_UNLCK, "F_UNLCK"}, {F_RDLCK, "F_RDLCK"}};
constexpr Flag kFlockOps[] = {
    {LOCK_SH, "LOCK_SH"}, {LOCK_EX, "LOCK_EX"}, {LOCK_NB, "LOCK_NB"}, {LOCK_UN, "LOCK_UN"}};
constexpr Flag kXattrFlags[] = {{XATTR_CREATE, "XATTR_CREATE"}, {XATTR_REPLACE, "XATTR_REPLACE"}};
constexpr Flag kInodeFlags[] = {{FS_IMMUTABLE_FL, "IMMUTABLE"}, {FS_APPEND_FL, "APPEND"},
                                {FS_NODUMP_FL, "NODUMP"},       {FS_NOATIME_FL, "NOATIME"},
                                {FS_SYNC_FL, "SYNC"},           {FS_DIRSYNC_FL, "DIRSYNC"}};
constexpr Flag kFileTypes[] = {{S_IFIFO, "S_IFIFO"}, {S_IFSOCK, "S_IFSOCK"}, {S_IFCHR, "S_IFCHR"},
                               {S_IFBLK, "S_IFBLK"}, {S_IFREG, "S_IFREG"},   {S_IFDIR, "S_IFDIR"}};

std::span<const Flag> names_of(Show show) {
  switch (show) {
    case Show::kOpenFlags: return kOpenFlags;
    case Show::kAtFlags: return kAtFlags;
    case Show::kAccessMode: return kAccessModes;
    case Show::kWhence: return kWhences;
    case Show::kFallocateMode: return kFallocateModes;
    case Show::kRenameFlags: return kRenameFlags;
    case Show::kRwFlags: return kRwFlags;
    case Show::kAdvice: return kAdvices;
    case Show::kMapFlags: return kMapFlags;
    case Show::kMsyncFlags: return kMsyncFlags;
    case Show::kLockType: return kLockTypes;
    case Show::kFlockOp: return kFlockOps;
    case Show::kXattrFlags: return kXattrFlags;
    case Show::kInodeFlags: return kInodeFlags;
    case Show::kFileMode: return kFileTypes;
    default: return {};
  }
}

// Exactly one name, not a sum of bits.
bool is_choice(Show show) {
  return show == Show::kWhence || show == Show::kAdvice || show == Show::kLockType;
}

std::string octal(std::int64_t value) {
  char text[32];
  (void)std::snprintf(text, sizeof text, "0%llo", static_cast<unsigned long long>(value));
  return text;
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative) text.remove_prefix(1);
  int base = 10;
  if (text.substr(0, 2) == "0x") {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return negative ? -value : value;
}

}  // namespace

bool is_flag_word(Show show) {
  return (!names_of(show).empty() && !is_choice(show)) || show == Show::kOctal;
}

std::string show_value(std::int64_t value, Show show) {
  if (show == Show::kOctal) return octal(value);
  const auto names = names_of(show);
  if (names.empty()) return std::to_string(value);
  if (is_choice(show)) {
    for (const Flag& flag : names) {
      if (flag.value == value) return flag.name;
    }
    return std::to_string(value);
  }
  std::string text;
  std::int64_t rest = value;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : "|") + part; };
  if (show == Show::kFileMode) {
    for (const Flag& flag : names) {
      if ((rest & S_IFMT) == flag.value) add(flag.name);
    }
    add(octal(rest & 07777));
    return text;
  }
  for (const Flag& flag : names) {
    if ((rest & flag.value) == flag.value) {
      add(flag.name);
      rest &= ~flag.value;
    }
  }
  if (rest != 0 || text.empty()) add(octal(rest));
  return text;
}

std::optional<std::int64_t> parse_value(std::string_view text, Show show) {
  const auto names = names_of(show);
  std::int64_t value = 0;
  while (true) {
    const std::size_t bar = text.find('|');
    const std::string_view part = text.substr(0, bar);
    bool found = false;
    for (const Flag& flag : names) {
      if (part == flag.name) {
        value |= flag.value;
        found = true;
      }
    }
    if (!found) {
      const auto number = parse_number(part);
      if (!number) return std::nullopt;
      value |= *number;
    }
    if (bar == std::string_view::npos) return value;
    text.remove_prefix(bar + 1);
  }
}

}  // namespace passthroughfs::difftest
