// SPDX-License-Identifier: Apache-2.0
//
// Moving bytes: reads, writes, sizes, holes, copies.
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>

#include "exec.h"

namespace passthroughfs::difftest {
namespace {

std::size_t length_of(std::int64_t length) {
  return static_cast<std::size_t>(std::clamp<std::int64_t>(length, 0, kBufferSize));
}

// Seeks whose outcome depends on more than the calls that were made.
bool uncertain_seek(const Agent& agent, int fd, const Op& op) {
  if (op.a == 0 && op.b == SEEK_SET) return false;
  struct stat st {};
  if (fstat(fd, &st) != 0) return false;
  if (S_ISDIR(st.st_mode)) return true;
  if (op.b != SEEK_DATA && op.b != SEEK_HOLE) return false;
  const SideBoard::Known* known = agent.board->find(st.st_ino);
  return known != nullptr && (known->ever_mapped || (known->preallocated && !agent.exact_blocks));
}

// The position is the kernel's on both sides, yet it shows where an append ended. (At the end of a
// directory the kernel's FUSE leaves it behind the last entry, native file systems where they
// like.)
void add_position(int fd, Result& result) {
  const int error = errno;
  struct stat st {};
  if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) return;
  result.detail += " pos=" + std::to_string(lseek(fd, 0, SEEK_CUR));
  errno = error;
}

// Offsets above this, half of what ext4 can, are compared in memory only: see exceptions().
constexpr std::int64_t kSeekable = std::int64_t{1} << 43;

// Three parts of unequal size, the second possibly empty.
int split(char* buffer, std::size_t length, std::array<iovec, 3>& parts) {
  const std::size_t first = length / 3;
  const std::size_t second = length > 4096 ? 1000 : 0;
  parts[0] = {buffer, first};
  parts[1] = {buffer + first, second};
  parts[2] = {buffer + first + second, length - first - second};
  return 3;
}

// Whether a descriptor writes past the page cache of a disk file system, whose readers may then see
// old data by chance (man 2 open warns of mixing both on one file). tmpfs has only the cache.
bool direct_on_disk(const Agent& agent, int fd) {
  if (agent.exact_blocks) return false;
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DIRECT) != 0 && (flags & O_PATH) == 0;
}

// Whether a read at `position` (-1: where the descriptor stands) is refused or not by what is a
// hole of the file, when nobody can say what is: see exceptions().
bool holes_decide(const Agent& agent, int fd, std::int64_t position, std::size_t length) {
  constexpr std::uint64_t kAlignment = 4096;
  struct stat st {};
  if (!direct_on_disk(agent, fd) || fstat(fd, &st) != 0) return false;
  const SideBoard::Known* known = agent.board->find(st.st_ino);
  if (known == nullptr || (!known->ever_mapped && !known->preallocated)) return false;
  if (position < 0) position = lseek(fd, 0, SEEK_CUR);
  return ((static_cast<std::uint64_t>(position) | length) % kAlignment) != 0;
}

// Root changes a file with capabilities that may be append-only or immutable: see exceptions().
bool may_keep_capabilities(const Agent& agent, int fd) {
  struct stat st {};
  if (!agent.board->locked || agent.number != 0 || fstat(fd, &st) != 0) return false;
  const SideBoard::Known* known = agent.board->find(st.st_ino);
  return known != nullptr && known->capable;
}

// After a write that failed, wholly or in part, pages that are mapped show what it brought until
// the daemon has had them dropped; see exceptions().
void let_pages_go(const Agent& agent, int fd) {
  struct stat st {};
  if (fstat(fd, &st) != 0) return;
  const SideBoard::Known* known = agent.board->find(st.st_ino);
  if (known == nullptr || known->mappings <= 0) return;
  const timespec moment{0, 20'000'000};
  (void)nanosleep(&moment, nullptr);
}

}  // namespace

Result exec_read(Agent& agent, const Op& op) {
  if (agent.board->locked && direct_on_disk(agent, agent.fd(op.fd))) return {.value = kNotMade};
  const int fd = agent.fd(op.fd);
  const std::size_t length = length_of(op.a);
  // readv's parts are never aligned.
  if (holes_decide(agent, fd, op.kind == Kind::kPread ? op.c : -1,
                   op.kind == Kind::kReadv ? 1 : length)) {
    return {.value = kNotMade};
  }
  ssize_t got = -1;
  if (op.kind == Kind::kRead) {
    got = read(fd, agent.buffer, length);
  } else if (op.kind == Kind::kPread) {
    got = pread(fd, agent.buffer, length, op.c);
  } else {
    std::array<iovec, 3> parts{};
    got = readv(fd, parts.data(), split(agent.buffer, length, parts));
  }
  Result result = outcome(got);
  if (got > 0) {
    char text[64];
    (void)std::snprintf(
        text, sizeof text, " data=%016llx",
        static_cast<unsigned long long>(hash_bytes(agent.buffer, static_cast<std::size_t>(got))));
    result.detail += text;
  }
  if (op.kind != Kind::kPread) add_position(fd, result);
  return result;
}

Result exec_write(Agent& agent, const Op& op) {
  if (agent.board->locked && direct_on_disk(agent, agent.fd(op.fd))) return {.value = kNotMade};
  const int fd = agent.fd(op.fd);
  if (direct_on_disk(agent, fd) || may_keep_capabilities(agent, fd)) return {.value = kNotMade};
  std::size_t length = length_of(op.a);
  fill_pattern(agent.buffer, length, op.b);
  const bool torn = agent.fault == Fault::kTornWrite && length > 4096;
  if (torn) --length;
  struct stat before {};
  const bool frozen = agent.fault == Fault::kFrozenTimes && fstat(fd, &before) == 0;
  ssize_t written = -1;
  if (op.kind == Kind::kWrite) {
    written = write(fd, agent.buffer, length);
  } else if (op.kind == Kind::kPwrite) {
    written = pwrite(fd, agent.buffer, length, op.c);
  } else {
    std::array<iovec, 3> parts{};
    const int count = split(agent.buffer, length, parts);
    written = op.kind == Kind::kWritev
                  ? writev(fd, parts.data(), count)
                  : pwritev2(fd, parts.data(), count, op.c, static_cast<int>(op.d));
  }
  Result result = outcome(written);
  if (written < static_cast<ssize_t>(length) && result.error != EBADF) let_pages_go(agent, fd);
  if (torn && result.value > 0) ++result.value;
  if (frozen && written > 0) {
    const timespec times[2] = {{0, UTIME_OMIT}, before.st_mtim};
    (void)futimens(fd, times);
  }
  if (op.kind != Kind::kPwrite) add_position(fd, result);
  return result;
}

Result exec_lseek(Agent& agent, const Op& op) {
  const int fd = agent.fd(op.fd);
  if (!agent.exact_blocks && op.a > kSeekable) return {.value = kNotMade};
  const bool content = op.b == SEEK_DATA || op.b == SEEK_HOLE;
  if (content && agent.profile == Profile::kWriteback) return {.value = kNotMade};
  if (uncertain_seek(agent, fd, op)) return {.value = kNotMade};
  return outcome(lseek(fd, op.a, static_cast<int>(op.b)));
}

Result exec_truncate(Agent& agent, const Op& op) {
  if (op.kind == Kind::kTruncate) return outcome(truncate(op.path.c_str(), op.a));
  return outcome(ftruncate(agent.fd(op.fd), op.a));
}

Result exec_fallocate(Agent& agent, const Op& op) {
  // tmpfs has no ZERO_RANGE. The kernel's FUSE drops setuid before it knows that.
  if (agent.exact_blocks && (op.b & FALLOC_FL_ZERO_RANGE) != 0) return {.value = kNotMade};
  if (may_keep_capabilities(agent, agent.fd(op.fd))) return {.value = kNotMade};
  if (SideBoard::Known* known = remember(agent, agent.fd(op.fd))) known->preallocated = true;
  return outcome(fallocate(agent.fd(op.fd), static_cast<int>(op.b), op.c, op.a));
}

Result exec_copy_range(Agent& agent, const Op& op) {
  loff_t from = op.b, to = op.c;
  const int in = agent.fd(op.fd), out = agent.fd(op.fd2);
  if (direct_on_disk(agent, in) || direct_on_disk(agent, out)) return {.value = kNotMade};
  if (!agent.exact_blocks && op.c > kSeekable) return {.value = kNotMade};
  if (may_keep_capabilities(agent, out)) return {.value = kNotMade};
  Result result = outcome(copy_file_range(in, op.b < 0 ? nullptr : &from, out,
                                          op.c < 0 ? nullptr : &to, length_of(op.a), 0));
  if (op.b < 0) add_position(in, result);
  if (op.c < 0) add_position(out, result);
  return result;
}

Result exec_sendfile(Agent& agent, const Op& op) {
  off_t from = op.b;
  // The pages themselves may go into a pipe, or into the file that they belong to: what is read
  // there later depends on who changes them meanwhile.
  struct stat in_file {
  }, out_file{};
  if (fstat(agent.fd(op.fd), &in_file) == 0 && fstat(agent.fd(op.fd2), &out_file) == 0 &&
      (in_file.st_ino == out_file.st_ino || S_ISFIFO(out_file.st_mode))) {
    return {.value = kNotMade};
  }
  // From where its descriptor stands: see exceptions() about the end of a directory.
  if (S_ISDIR(in_file.st_mode) && op.b < 0) return {.value = kNotMade};
  const int in = agent.fd(op.fd), out = agent.fd(op.fd2);
  if (!agent.exact_blocks && op.b > kSeekable) return {.value = kNotMade};
  if (direct_on_disk(agent, out) || may_keep_capabilities(agent, out)) return {.value = kNotMade};
  if (holes_decide(agent, in, op.b, length_of(op.a))) return {.value = kNotMade};
  Result result = outcome(sendfile(out, in, op.b < 0 ? nullptr : &from, length_of(op.a)));
  if (result.error == EPERM) let_pages_go(agent, out);
  add_position(in, result);
  add_position(out, result);
  return result;
}

Result exec_fsync(Agent& agent, const Op& op) {
  const int fd = agent.fd(op.fd);
  return outcome(op.kind == Kind::kFsync ? fsync(fd) : fdatasync(fd));
}

Result exec_fadvise(Agent& agent, const Op& op) {
  const int error = posix_fadvise(agent.fd(op.fd), op.c, op.a, static_cast<int>(op.b));
  errno = error;
  return outcome(error == 0 ? 0 : -1);
}

}  // namespace passthroughfs::difftest
