// SPDX-License-Identifier: Apache-2.0
#include "compare.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

namespace passthroughfs::difftest {
namespace {

using Tokens = std::vector<std::string_view>;

Tokens split(std::string_view text, char by) {
  Tokens parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(by), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::string_view key_of(std::string_view token) { return token.substr(0, token.find('=')); }

bool has(const Tokens& tokens, std::string_view token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

void drop(Tokens& tokens, std::initializer_list<std::string_view> keys) {
  const auto listed = [&](std::string_view token) {
    return std::find(keys.begin(), keys.end(), key_of(token)) != keys.end();
  };
  tokens.erase(std::remove_if(tokens.begin(), tokens.end(), listed), tokens.end());
}

bool is_time(std::string_view key) {
  return key == "t" || key == "t2" || key == "tp" || key == "tp2" || key == "td" || key == "td2" ||
         key == "t_since";
}

// A time token that only one side has, or that one side could not tell ("=?").
void drop_unknown_times(Tokens& tokens, const Tokens& others) {
  const auto unknown = [&](std::string_view token) {
    const std::string_view key = key_of(token);
    if (!is_time(key)) return false;
    for (const std::string_view other : others) {
      if (key_of(other) == key) return token.back() == '?' || other.back() == '?';
    }
    return true;
  };
  tokens.erase(std::remove_if(tokens.begin(), tokens.end(), unknown), tokens.end());
}

// Space that a disk file system needs to find a file's blocks depends on how they lie.
void drop_close_blocks(Tokens& left, Tokens& right) {
  constexpr long kTolerance = 16;
  constexpr std::string_view kKey = "blocks~";
  const auto value = [&](const Tokens& tokens) -> std::optional<long> {
    for (const std::string_view token : tokens) {
      if (key_of(token) == kKey) return std::stol(std::string(token.substr(kKey.size() + 1)));
    }
    return std::nullopt;
  };
  const auto x = value(left), y = value(right);
  if (!x || !y || std::labs(*x - *y) > kTolerance) return;
  drop(left, {kKey});
  drop(right, {kKey});
}

// Removes from both what may differ. `left` and `right` are the tokens of one line.
void apply_exceptions(const Op& op, Tokens& left, Tokens& right) {
  const bool mapped = has(left, "mapped") || has(right, "mapped");
  const bool was_mapped = mapped || has(left, "was_mapped") || has(right, "was_mapped");
  const Tokens left_before = left;
  drop_unknown_times(left, right);
  drop_unknown_times(right, left_before);
  for (Tokens* side : {&left, &right}) {
    drop(*side, {"mapped", "was_mapped"});
    if (mapped) drop(*side, {"t", "t2", "tp", "tp2", "t_since"});
    if (was_mapped) drop(*side, {"blocks", "blocks~", "mtime"});
  }
  drop_close_blocks(left, right);
  if (op.kind == Kind::kOfdGetLk || has(left, "owner=-1")) {
    drop(left, {"owner"});
    drop(right, {"owner"});
  }
  if (has(left, "type=F_RDLCK") && has(right, "type=F_RDLCK")) {
    drop(left, {"owner", "start", "length"});
    drop(right, {"owner", "start", "length"});
  }
}

constexpr Exception kExceptions[] = {
    {"st_dev, inode numbers, f_fsid, f_type, mount flags, stx_attributes",
     "a mount has a device and a type of its own; compared is only whether two names are one file, "
     "and whether a file is on the root's device"},
    {"mtime and ctime",
     "two directories changed one after the other have different times; compared is whether a call "
     "moved them, and values set by utimensat"},
    {"atime after reads",
     "reads that the page cache serves reach nobody who could move it; compared only as set by "
     "utimensat, and only where the source is mounted noatime"},
    {"st_blocks on other file systems than tmpfs, by up to 16",
     "the file system's own bookkeeping depends on where it found room"},
    {"times and blocks of a mapped file",
     "natively the first store to a page moves mtime and ctime and allocates; through the mount "
     "both happen when the page is written back, at the latest at munmap, msync or fsync"},
    {"holes of a mapped or, on disk, preallocated file",
     "natively a load from a hole may allocate a page (tmpfs), a store does at once, and "
     "preallocated "
     "space counts as data where it was read into the source's page cache; not asked for"},
    {"O_DIRECT reads that are not aligned, of a file that was ever mapped or preallocated, on disk",
     "ext4 refuses them where it finds blocks and gives zeros where it finds none, and there is "
     "chance in that: natively a store to a page that is part of a large folio allocates the holes "
     "of all of it; not made"},
    {"what a write that failed brought, in pages that are mapped",
     "the kernel's FUSE fills its pages before it asks, and the daemon has them dropped when it "
     "has "
     "answered; after such a write there is a pause"},
    {"the mode that link() looks at right after an open with O_TRUNC",
     "protected_hardlinks uses the cached mode, with the setuid bits that O_TRUNC dropped"},
    {"the mode that a write looks at right after an access ACL was set, in kernel passthrough",
     "the kernel's FUSE decides by the cached mode whether the write takes set-group-ID away, and "
     "the "
     "daemon has no part in the write; with that profile somebody asks for the mode in between"},
    {"times of FIFOs and devices",
     "reads and writes of them stay in the kernel, and reach neither the daemon nor the source"},
    {"l_pid of F_GETLK when an OFD lock is in the way, and of F_OFD_GETLK",
     "the kernel's FUSE does not say whether a lock is an OFD lock, so -1 and the pid of the "
     "process "
     "that took it stand for each other"},
    {"sendfile within one file, and into a FIFO",
     "what arrives depends on which pages the kernel shares and who changes them meanwhile; not "
     "made"},
    {"flock and OFD locks after the last close",
     "the kernel's FUSE tells of a last close in the background, so for a moment such a lock may "
     "still be held; a refused lock is asked for once more"},
    {"O_DIRECT writes on other file systems than tmpfs",
     "mixed with cached writes they have no certain result on ext4 natively; fio verifies them"},
    {"what a store behind the end of the file, in its last page, leaves there when the file grows",
     "depends natively on when the page was written back; not generated"},
    {"immutable and append-only files: another error for EPERM; access(); F_SETFL; mmap; locks",
     "the kernel's FUSE does not know these flags, so where something else forbids a call as well, "
     "it "
     "says so before the source is asked (both refuse); access() is answered from the mode alone, "
     "and "
     "fcntl may set and clear O_APPEND, which is therefore left alone; copy_file_range and "
     "writes of nothing succeed, and so does removing the default "
     "ACL of what is no directory, also by an empty one; shared mappings of and POSIX locks on "
     "such files are not made, nor stores to shared mappings of any file then: natively such a "
     "file "
     "refuses the store, through the mount only what is written back"},
    {"stores to a shared mapping of a file with capabilities, but in kernel passthrough",
     "natively the capabilities stay; the daemon writes the page back by a write, which takes them "
     "away; not made, and no capabilities given to a file that is mapped"},
    {"writes by root to an append-only or immutable file with capabilities",
     "the kernel's FUSE asks for the removal of the capabilities first, with the same request as "
     "for "
     "removexattr, which the source refuses to root too; not made"},
    {"locks relative to the end of a directory",
     "the kernel counts from the size that it knows; a directory's changes with each name in it; "
     "not "
     "made"},
    {"chown to -1, -1",
     "natively moves ctime and drops setuid; the kernel's FUSE sends a change of nothing, which "
     "also "
     "stands for other things; not generated"},
    {"lseek on a directory to a position that no entry has",
     "positions are the source's own, but SEEK_END and arithmetic on them never reach it"},
    {"setuid and setgid after a fallocate that the source refuses",
     "the kernel's FUSE drops them before it asks the source; not generated"},
    {"fallocate COLLAPSE_RANGE, INSERT_RANGE, UNSHARE_RANGE",
     "the kernel's FUSE answers EOPNOTSUPP itself; not generated, since the files differ ever "
     "after"},
    {"F_SETFL that clears O_APPEND or O_DIRECT, in kernel passthrough",
     "the kernel's own file on the source keeps the flags of the open; not done with that profile"},
    {"flock and OFD locks on a file that was mapped, in kernel passthrough",
     "natively a mapping keeps the open file, and so its lock, beyond close; in passthrough it "
     "keeps "
     "only the kernel's own file on the source; not made with that profile"},
    {"the position of a directory's descriptor at the end",
     "the kernel's FUSE leaves it behind the last entry, native file systems where they like; "
     "sendfile from there, which looks at it before it refuses a directory, is not made"},
    {"copy_file_range from or to an O_DIRECT descriptor, on disk",
     "natively EINVAL unless it is aligned; through the mount it is not made with O_DIRECT"},
    {"seekdir with handles=stateless",
     "the kernel then lists from its own cache, which a change of the directory reorders"},
    {"O_TRUNC of a file that is empty, with handles=stateless",
     "without OPEN it comes as truncate(path, 0), which leaves the times; not made"},
    {"times of the directory after RENAME_WHITEOUT was refused",
     "ext4 makes the whiteout before it looks whether the target is empty; the kernel's FUSE keeps "
     "the times that it knew"},
    {"going on with a listing, on disk",
     "ext4 remembers entries from an earlier getdents, even one that had no room for any, and "
     "POSIX "
     "leaves open whether what changed since is listed; listed from the start only"},
    {"lseek, sendfile and copy_file_range beyond the largest file of the source",
     "EINVAL or EFBIG natively, even of nothing; the kernel's FUSE does not know that limit; not "
     "made"},
    {"which of several read locks F_GETLK names",
     "the first in a list whose order is the kernel's own"},
    {"O_DIRECT set by F_SETFL on a file that is append-only or immutable by then",
     "the daemon cannot open it again, so its data goes through the page cache, where alignment "
     "does "
     "not matter; not made on disk once there are such files"},
    {"times and blocks of regular files, SEEK_DATA and SEEK_HOLE, with the writeback cache",
     "the kernel keeps the times itself, blocks are there when the data has been sent, and holes "
     "are not looked for"},
    {"RWF_NOWAIT", "the kernel's FUSE answers EOPNOTSUPP itself; not generated"},
};

std::string error_name(int error) {
  const char* name = error == 0 ? "none" : strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

void note(std::vector<std::string>& what, std::string_view name) {
  std::string entry(name);
  if (std::find(what.begin(), what.end(), entry) == what.end()) what.push_back(std::move(entry));
}

// See "immutable and append-only files" in the table.
bool is_lock_refusal(const Op& op, const Result& left, const Result& right) {
  constexpr std::string_view kMark = " locked";
  const auto marked = [&](const Result& result) {
    return result.detail.find(kMark) != std::string::npos;
  };
  if (left.error != EPERM || !marked(left)) return false;
  const bool removes = op.kind == Kind::kRemovexattr || op.kind == Kind::kFremovexattr;
  const bool sets_empty = (op.kind == Kind::kSetxattr || op.kind == Kind::kFsetxattr) && op.a == 0;
  const bool default_acl = (removes || sets_empty) && op.name == "system.posix_acl_default";
  const bool writes = op.kind == Kind::kWrite || op.kind == Kind::kPwrite ||
                      op.kind == Kind::kWritev || op.kind == Kind::kPwritev2;
  return right.error != 0 || op.kind == Kind::kAccess || default_acl ||
         (op.kind == Kind::kCopyRange && right.value == 0) || (writes && op.a == 0);
}

void compare_line(const Op& op, std::string_view left_line, std::string_view right_line,
                  std::vector<std::string>& what) {
  if (left_line == right_line) return;
  Tokens left = split(left_line, ' '), right = split(right_line, ' ');
  apply_exceptions(op, left, right);
  if (left == right) return;
  for (const std::string_view token : left) {
    if (!has(right, token)) note(what, key_of(token));
  }
  for (const std::string_view token : right) {
    if (!has(left, token)) note(what, key_of(token));
  }
  if (what.empty()) note(what, "order");
}

void compare_trees(const Op& op, const std::string& left_text, const std::string& right_text,
                   std::vector<std::string>& what) {
  const Tokens left = split(left_text, '\n'), right = split(right_text, '\n');
  std::size_t i = 0, j = 0;
  const auto name_of = [](std::string_view line) { return line.substr(0, line.find(' ')); };
  while (i < left.size() && j < right.size()) {
    if (name_of(left[i]) == name_of(right[j])) {
      compare_line(op, left[i++], right[j++], what);
      continue;
    }
    note(what, "names");
    return;
  }
  if (i < left.size() || j < right.size()) note(what, "names");
}

}  // namespace

std::optional<std::string> difference(const Op& op, const Result& left, const Result& right) {
  if (left == right || is_lock_refusal(op, left, right)) return std::nullopt;
  const bool whiteout = op.kind == Kind::kRename && (op.a & RENAME_WHITEOUT) != 0;
  if (whiteout && left.error != 0 && left.error == right.error) return std::nullopt;
  std::vector<std::string> what;
  if (left.error != right.error) {
    what.push_back("errno " + error_name(left.error) + "/" + error_name(right.error));
  } else if (left.value != right.value) {
    what.emplace_back("value");
  } else if (op.kind == Kind::kSnapshot) {
    compare_trees(op, left.detail, right.detail, what);
  } else {
    compare_line(op, left.detail, right.detail, what);
  }
  if (what.empty()) return std::nullopt;
  std::string text;
  for (const std::string& name : what) text += (text.empty() ? "" : ", ") + name;
  return text;
}

bool is_about_times(const std::string& what) {
  Tokens keys = split(what, ' ');
  for (std::string_view key : keys) {
    if (!key.empty() && key.back() == ',') key.remove_suffix(1);
    if (is_time(key)) return true;
  }
  return false;
}

std::string show_result(const Result& result) {
  if (result.value == kNotMade) return "not made";
  if (result.value < 0) {
    return error_name(result.error) + result.detail;
  }
  return std::to_string(result.value) + result.detail;
}

std::span<const Exception> exceptions() { return kExceptions; }

}  // namespace passthroughfs::difftest
