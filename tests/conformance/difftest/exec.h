// SPDX-License-Identifier: Apache-2.0
//
// Executing operations inside one agent: a process with its own user, descriptors, mappings and
// working directory. There is one agent process per agent number and side; both sides run this same
// code, so that what differs in their results differs because of the file system below.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "faults.h"
#include "op.h"

namespace passthroughfs::difftest {

// What a call did, in a form that is the same on both sides when the calls did the same: numbers
// that depend on the machine (inode numbers, times, addresses, pids) are translated.
struct Result {
  std::int64_t value = 0;
  int error = 0;       // errno when value is -1
  std::string detail;  // " key=value" tokens; listings and trees have lines of them
};
inline bool operator==(const Result& x, const Result& y) {
  return x.value == y.value && x.error == y.error && x.detail == y.detail;
}

// Value of a call that was not made because its outcome means nothing (see exceptions.cc).
inline constexpr std::int64_t kNotMade = -1000;

// What the agents of one side tell each other, in memory that they share. The agents of a side
// never run at the same time, so plain reads and writes of it are enough.
struct SideBoard {
  std::array<std::atomic<pid_t>, kMaxAgents> pids{};
  // What was done to an inode that makes some of its properties a matter of chance.
  struct Known {
    ino_t ino;
    int mappings;  // that live now
    bool mapped;   // since the last snapshot
    bool ever_mapped;
    bool preallocated;  // fallocate
    bool capable;       // had file capabilities
  };
  std::array<Known, 1024> known{};
  std::size_t known_count = 0;
  // Set once a file was made immutable or append-only.
  bool locked = false;
  // Raised by every snapshot; times seen in an earlier epoch are not compared.
  std::uint32_t epoch = 0;

  Known* find(ino_t ino);
};

struct Slot {
  int fd = -1;
  // The times at the last fstat through this slot, when `seen` and settled.
  bool seen = false;
  std::uint32_t epoch = 0;
  timespec mtime{}, ctime{};
};

struct Mapping {
  char* address = nullptr;
  std::size_t length = 0;
  std::size_t offset = 0;  // in the file
  ino_t ino = 0;
  bool shared = false;
  int file = -1;  // O_PATH: it tells the size without being an open of the file
};

inline constexpr std::size_t kBufferSize = 4u << 20;

// What the mount can keep of native behaviour, by its mode (see exceptions()).
enum class Profile : std::uint8_t { kExact, kPassthrough, kStateless, kWriteback };

// Everything an agent process has. Lives as long as the process; the kernel cleans up.
struct Agent {
  int number = 0;
  Profile profile = Profile::kExact;
  SideBoard* board = nullptr;
  Fault fault = Fault::kNone;
  bool patient = false;        // wait until the next change must show in the times
  bool exact_blocks = false;   // st_blocks follows from what was written
  bool compare_atime = false;  // mounted noatime
  int proc = -1;               // O_PATH descriptor of /proc, which the chroot hides
  int inbox = -1;              // descriptors sent by other agents of this side
  std::array<int, kMaxAgents> outboxes{};
  time_t start = 0;
  dev_t root_dev = 0;
  std::array<Slot, kSlots> slots{};
  std::array<Mapping, kMapSlots> maps{};
  char* buffer = nullptr;  // kBufferSize, page aligned (O_DIRECT)

  int fd(int slot) const { return slots[static_cast<std::size_t>(slot) % kSlots].fd; }
  int at(int dir) const;
  // Takes over `fd`; closes what the slot held and reports its error in `result`.
  void put(int slot, int fd, Result& result);
};

// Opens /proc (before a chroot hides it) and allocates the buffer.
void prepare_agent(Agent& agent);
Result execute(Agent& agent, const Op& op);

// --- helpers of the exec_*.cc files ---

// The result of a system call that has just returned.
Result outcome(std::int64_t value);
std::uint64_t hash_bytes(const char* data, std::size_t length);
// The bytes that write operations write: same pattern, same bytes. Pattern 0 is all zeros.
void fill_pattern(char* to, std::size_t length, std::int64_t pattern);
// " type=reg mode=0644 ..."; what is compared of a file's attributes.
std::string describe(const Agent& agent, const struct stat& st);
std::string describe_time(const Agent& agent, const char* name, const timespec& time);
timespec time_of_code(std::int64_t code);
inline bool same_time(const timespec& x, const timespec& y) {
  return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec;
}
// A regular file with a writeback cache: its times are the kernel's own, its blocks come later.
bool gathered(const Agent& agent, const struct stat& st);
// Whether a change made from now on must get other times: file systems stamp with a clock that
// ticks every few milliseconds. A patient agent waits until it is so.
bool settled(const Agent& agent, const struct stat& st);
// The board's entry for the file behind `fd`, made if there is none; null when the board is full.
// From then on the agent holds the file, so that no other one gets its inode number: on a disk that
// is a matter of chance, and the two sides would know different things.
SideBoard::Known* remember(Agent& agent, int fd);
// " mapped" when attributes of this inode may lag behind stores through a mapping.
void add_mapped(const Agent& agent, ino_t ino, std::string& detail);

// --- the operations ---
Result exec_open(Agent&, const Op&);
Result exec_close(Agent&, const Op&);
Result exec_dup(Agent&, const Op&);
Result exec_send_fd(Agent&, const Op&);
Result exec_recv_fd(Agent&, const Op&);
Result exec_getfl(Agent&, const Op&);
Result exec_setfl(Agent&, const Op&);
Result exec_read(Agent&, const Op&);
Result exec_write(Agent&, const Op&);
Result exec_lseek(Agent&, const Op&);
Result exec_truncate(Agent&, const Op&);
Result exec_fallocate(Agent&, const Op&);
Result exec_copy_range(Agent&, const Op&);
Result exec_sendfile(Agent&, const Op&);
Result exec_fsync(Agent&, const Op&);
Result exec_fadvise(Agent&, const Op&);
Result exec_fstat(Agent&, const Op&);
Result exec_stat(Agent&, const Op&);
Result exec_statx(Agent&, const Op&);
Result exec_chmod(Agent&, const Op&);
Result exec_chown(Agent&, const Op&);
Result exec_utimens(Agent&, const Op&);
Result exec_access(Agent&, const Op&);
Result exec_statfs(Agent&, const Op&);
Result exec_same_file(Agent&, const Op&);
Result exec_getflags(Agent&, const Op&);
Result exec_setflags(Agent&, const Op&);
Result exec_mkdir(Agent&, const Op&);
Result exec_rmdir(Agent&, const Op&);
Result exec_unlink(Agent&, const Op&);
Result exec_link(Agent&, const Op&);
Result exec_link_fd(Agent&, const Op&);
Result exec_symlink(Agent&, const Op&);
Result exec_readlink(Agent&, const Op&);
Result exec_rename(Agent&, const Op&);
Result exec_mknod(Agent&, const Op&);
Result exec_umask(Agent&, const Op&);
Result exec_listdir(Agent&, const Op&);
Result exec_getdents(Agent&, const Op&);
Result exec_seekdir(Agent&, const Op&);
Result exec_chdir(Agent&, const Op&);
Result exec_getcwd(Agent&, const Op&);
Result exec_setxattr(Agent&, const Op&);
Result exec_getxattr(Agent&, const Op&);
Result exec_listxattr(Agent&, const Op&);
Result exec_removexattr(Agent&, const Op&);
Result exec_mmap(Agent&, const Op&);
Result exec_store(Agent&, const Op&);
Result exec_load(Agent&, const Op&);
Result exec_msync(Agent&, const Op&);
Result exec_munmap(Agent&, const Op&);
Result exec_lock(Agent&, const Op&);
Result exec_flock(Agent&, const Op&);
Result exec_snapshot(Agent&, const Op&);

}  // namespace passthroughfs::difftest
