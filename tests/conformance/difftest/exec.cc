// SPDX-License-Identifier: Apache-2.0
//
// Dispatch, the observation of times around a call, and what all operations share.
#include "exec.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "random.h"

namespace passthroughfs::difftest {
namespace {

using Function = Result (*)(Agent&, const Op&);

Function function_of(Kind kind) {
  switch (kind) {
    case Kind::kOpen: return exec_open;
    case Kind::kClose: return exec_close;
    case Kind::kDup: return exec_dup;
    case Kind::kSendFd: return exec_send_fd;
    case Kind::kRecvFd: return exec_recv_fd;
    case Kind::kGetFl: return exec_getfl;
    case Kind::kSetFl: return exec_setfl;
    case Kind::kRead:
    case Kind::kPread:
    case Kind::kReadv: return exec_read;
    case Kind::kWrite:
    case Kind::kPwrite:
    case Kind::kWritev:
    case Kind::kPwritev2: return exec_write;
    case Kind::kLseek: return exec_lseek;
    case Kind::kFtruncate:
    case Kind::kTruncate: return exec_truncate;
    case Kind::kFallocate: return exec_fallocate;
    case Kind::kCopyRange: return exec_copy_range;
    case Kind::kSendfile: return exec_sendfile;
    case Kind::kFsync:
    case Kind::kFdatasync: return exec_fsync;
    case Kind::kFadvise: return exec_fadvise;
    case Kind::kFstat: return exec_fstat;
    case Kind::kStat: return exec_stat;
    case Kind::kStatx: return exec_statx;
    case Kind::kFchmod:
    case Kind::kChmod: return exec_chmod;
    case Kind::kFchown:
    case Kind::kChown: return exec_chown;
    case Kind::kFutimens:
    case Kind::kUtimens: return exec_utimens;
    case Kind::kAccess: return exec_access;
    case Kind::kStatfs:
    case Kind::kFstatfs: return exec_statfs;
    case Kind::kSameFile: return exec_same_file;
    case Kind::kGetFlags: return exec_getflags;
    case Kind::kSetFlags: return exec_setflags;
    case Kind::kMkdir: return exec_mkdir;
    case Kind::kRmdir: return exec_rmdir;
    case Kind::kUnlink: return exec_unlink;
    case Kind::kLink: return exec_link;
    case Kind::kLinkFd: return exec_link_fd;
    case Kind::kSymlink: return exec_symlink;
    case Kind::kReadlink: return exec_readlink;
    case Kind::kRename: return exec_rename;
    case Kind::kMknod: return exec_mknod;
    case Kind::kUmask: return exec_umask;
    case Kind::kListdir: return exec_listdir;
    case Kind::kGetdents: return exec_getdents;
    case Kind::kSeekdir: return exec_seekdir;
    case Kind::kChdir:
    case Kind::kFchdir: return exec_chdir;
    case Kind::kGetcwd: return exec_getcwd;
    case Kind::kSetxattr:
    case Kind::kFsetxattr: return exec_setxattr;
    case Kind::kGetxattr:
    case Kind::kFgetxattr: return exec_getxattr;
    case Kind::kListxattr:
    case Kind::kFlistxattr: return exec_listxattr;
    case Kind::kRemovexattr:
    case Kind::kFremovexattr: return exec_removexattr;
    case Kind::kMmap: return exec_mmap;
    case Kind::kStore: return exec_store;
    case Kind::kLoad: return exec_load;
    case Kind::kMsync: return exec_msync;
    case Kind::kMunmap: return exec_munmap;
    case Kind::kSetLk:
    case Kind::kGetLk:
    case Kind::kOfdSetLk:
    case Kind::kOfdGetLk: return exec_lock;
    case Kind::kFlock: return exec_flock;
    case Kind::kSnapshot: return exec_snapshot;
    case Kind::kCount: break;
  }
  std::abort();
}

// "d/a" -> "d", "/a" -> "/", "a" -> ".".
std::string parent_of(const std::string& path) {
  std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "." : "/";
  end = path.find_last_of('/', end);
  if (end == std::string::npos) return ".";
  end = path.find_last_not_of('/', end);
  return end == std::string::npos ? "/" : path.substr(0, end + 1);
}

bool is_special(const struct stat& st) {
  return S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode);
}

// The times of one thing that an operation names, before and after it.
class Observed {
 public:
  Observed(const Agent& agent, const char* label, int at, std::string path)
      : agent_(agent),
        label_(label),
        at_(at),
        path_(std::move(path)),
        found_(look(before_) && settled(agent, before_)) {}

  void finish(std::string& detail) const {
    struct stat after {};
    detail += std::string(" ") + label_ + "=";
    if (!found_ || !look(after) || after.st_ino != before_.st_ino || is_special(after) ||
        gathered(agent_, after)) {
      detail += '?';
      return;
    }
    const bool modified = !same_time(before_.st_mtim, after.st_mtim);
    const bool changed = !same_time(before_.st_ctim, after.st_ctim);
    detail += modified ? (changed ? "mc" : "m") : (changed ? "c" : "-");
    add_mapped(agent_, after.st_ino, detail);
  }

 private:
  bool look(struct stat& st) const {
    const int flags = path_.empty() ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
    return fstatat(at_, path_.c_str(), &st, flags) == 0;
  }

  const Agent& agent_;
  const char* label_;
  int at_;
  std::string path_;
  struct stat before_ {};
  bool found_;
};

bool has_field(const Op& op, Field field) {
  for (const ArgSpec& arg : spec(op.kind).args) {
    if (arg.field == field) return true;
  }
  return false;
}

Result execute_observed(Agent& agent, const Op& op) {
  std::array<std::optional<Observed>, 6> observed;
  if (has_field(op, Field::kFd)) observed[0].emplace(agent, "t", agent.fd(op.fd), "");
  if (has_field(op, Field::kFd2)) observed[1].emplace(agent, "t2", agent.fd(op.fd2), "");
  if (has_field(op, Field::kPath) && !op.path.empty()) {
    observed[2].emplace(agent, "tp", agent.at(op.dir), op.path);
    observed[3].emplace(agent, "td", agent.at(op.dir), parent_of(op.path));
  }
  if (has_field(op, Field::kPath2) && !op.path2.empty()) {
    observed[4].emplace(agent, "tp2", agent.at(op.dir2), op.path2);
    observed[5].emplace(agent, "td2", agent.at(op.dir2), parent_of(op.path2));
  }
  Result result = function_of(op.kind)(agent, op);
  for (const auto& one : observed) {
    if (one) one->finish(result.detail);
  }
  return result;
}

}  // namespace

SideBoard::Known* SideBoard::find(ino_t ino) {
  for (std::size_t i = 0; i < known_count; ++i) {
    if (known[i].ino == ino) return &known[i];
  }
  return nullptr;
}

SideBoard::Known* remember(Agent& agent, int fd) {
  SideBoard& board = *agent.board;
  struct stat st {};
  if (fstat(fd, &st) != 0) return nullptr;
  if (SideBoard::Known* found = board.find(st.st_ino)) return found;
  if (board.known_count == board.known.size()) return nullptr;
  const std::string link = "self/fd/" + std::to_string(fd);
  (void)openat(agent.proc, link.c_str(), O_PATH | O_CLOEXEC);  // open until the process ends
  board.known[board.known_count] = {.ino = st.st_ino};
  return &board.known[board.known_count++];
}

int Agent::at(int dir) const { return dir < 0 ? AT_FDCWD : fd(dir); }

void Agent::put(int slot, int fd, Result& result) {
  Slot& place = slots[static_cast<std::size_t>(slot) % kSlots];
  if (place.fd >= 0 && close(place.fd) != 0) {
    result.detail += " close_error=" + std::to_string(errno);
  }
  place = Slot{};
  place.fd = fd;
}

void prepare_agent(Agent& agent) {
  agent.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  void* buffer =
      mmap(nullptr, kBufferSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED) std::abort();
  agent.buffer = static_cast<char*>(buffer);
}

Result execute(Agent& agent, const Op& op) {
  Result result = op.observe ? execute_observed(agent, op) : function_of(op.kind)(agent, op);
  if (agent.board->locked && (result.error == EPERM || result.error == EACCES)) {
    result.detail += " locked";
  }
  return result;
}

Result outcome(std::int64_t value) {
  Result result;
  result.error = value < 0 ? errno : 0;
  result.value = value < 0 ? -1 : value;
  return result;
}

std::uint64_t hash_bytes(const char* data, std::size_t length) {
  std::uint64_t hash = length;
  while (length >= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, sizeof word);
    hash = (hash ^ word) * 0x9fb21c651e98df25u;
    hash ^= hash >> 32;
    data += sizeof word;
    length -= sizeof word;
  }
  std::uint64_t tail = 0;
  std::memcpy(&tail, data, length);
  return mix(hash ^ tail);
}

void fill_pattern(char* to, std::size_t length, std::int64_t pattern) {
  if (pattern == 0) {
    std::memset(to, 0, length);
    return;
  }
  std::uint64_t word = mix(static_cast<std::uint64_t>(pattern)) | 1;
  while (length > 0) {
    const std::size_t part = length < sizeof word ? length : sizeof word;
    std::memcpy(to, &word, part);
    word += 0x0101010101010101u;
    to += part;
    length -= part;
  }
}

std::string describe_time(const Agent& agent, const char* name, const timespec& time) {
  // Times near now come from the clock, and differ; the others were set by utimensat.
  if (time.tv_sec > agent.start - 1000 && time.tv_sec < agent.start + 100000) return {};
  return std::string(" ") + name + "=" + std::to_string(time.tv_sec) + "." +
         std::to_string(time.tv_nsec);
}

bool gathered(const Agent& agent, const struct stat& st) {
  return agent.profile == Profile::kWriteback && S_ISREG(st.st_mode);
}

std::string describe(const Agent& agent, const struct stat& st) {
  const char* type = "?";
  switch (st.st_mode & S_IFMT) {
    case S_IFREG: type = "reg"; break;
    case S_IFDIR: type = "dir"; break;
    case S_IFLNK: type = "link"; break;
    case S_IFIFO: type = "fifo"; break;
    case S_IFSOCK: type = "sock"; break;
    case S_IFCHR: type = "chr"; break;
    case S_IFBLK: type = "blk"; break;
    default: break;
  }
  char text[256];
  (void)std::snprintf(
      text, sizeof text,
      " type=%s mode=0%o nlink=%lu uid=%u gid=%u size=%lld blocks%s=%lld blksize=%ld "
      "rdev=%u:%u dev=%s",
      type, st.st_mode & 07777u, static_cast<unsigned long>(st.st_nlink), st.st_uid, st.st_gid,
      static_cast<long long>(st.st_size), agent.exact_blocks ? "" : "~",
      static_cast<long long>(gathered(agent, st) ? 0 : st.st_blocks),
      static_cast<long>(st.st_blksize), major(st.st_rdev), minor(st.st_rdev),
      st.st_dev == agent.root_dev ? "root's" : "other");
  std::string detail = text;
  if (!is_special(st)) detail += describe_time(agent, "mtime", st.st_mtim);
  if (agent.compare_atime) detail += describe_time(agent, "atime", st.st_atim);
  add_mapped(agent, st.st_ino, detail);
  return detail;
}

bool settled(const Agent& agent, const struct stat& st) {
  constexpr std::int64_t kTicks = 13'000'000;
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  const auto age = [&now](const timespec& time) {
    // Times far from now were set by utimensat.
    const std::int64_t seconds = now.tv_sec - time.tv_sec;
    return seconds > 3 || seconds < -3 ? kTicks + 1
                                       : seconds * 1'000'000'000 + now.tv_nsec - time.tv_nsec;
  };
  if (age(st.st_mtim) > kTicks && age(st.st_ctim) > kTicks) return true;
  if (!agent.patient) return false;
  const timespec wait{0, kTicks};
  (void)nanosleep(&wait, nullptr);
  return true;
}

void add_mapped(const Agent& agent, ino_t ino, std::string& detail) {
  const SideBoard::Known* known = agent.board->find(ino);
  if (known == nullptr || !known->ever_mapped) return;
  detail += known->mapped ? " mapped" : " was_mapped";
}

timespec time_of_code(std::int64_t code) {
  switch (code) {
    case 0: return {0, UTIME_NOW};
    case 1: return {0, UTIME_OMIT};
    case 2: return {0, 0};
    case 3: return {1000000000, 123456789};
    case 4: return {500000000, 999999999};
    case 5: return {-1, 0};
    case 6: return {4102444800, 1};
    case 7: return {1234567890, 0};
    default: return {0, 2000000000};  // not a valid time
  }
}

}  // namespace passthroughfs::difftest
