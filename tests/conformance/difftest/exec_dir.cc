// SPDX-License-Identifier: Apache-2.0
//
// Directories: listing them in one go and in pieces, and working inside them.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "exec.h"

namespace passthroughfs::difftest {
namespace {

struct Entry {
  std::string name;
  unsigned char type;
  ino_t ino;
  off_t next;
};

// One getdents call with a buffer of `size` bytes. The C library's stream would hide how much was
// asked for and when.
std::int64_t read_entries(int fd, std::size_t size, std::vector<Entry>& entries) {
  constexpr std::size_t kNameAt = offsetof(dirent64, d_name);
  alignas(dirent64) static char buffer[65536];
  const long got = syscall(SYS_getdents64, fd, buffer, std::min(size, sizeof buffer));
  for (long at = 0; at < got;) {
    const char* record = buffer + at;
    dirent64 head{};
    std::memcpy(&head, record, kNameAt);
    entries.push_back({record + kNameAt, head.d_type, head.d_ino, head.d_off});
    at += head.d_reclen;
  }
  return got;
}

std::int64_t read_all(int fd, std::vector<Entry>& entries) {
  std::int64_t got = 0;
  while ((got = read_entries(fd, 32768, entries)) > 0) {
  }
  return got;
}

std::string type_letter(unsigned char type) {
  switch (type) {
    case DT_REG: return "reg";
    case DT_DIR: return "dir";
    case DT_LNK: return "link";
    case DT_FIFO: return "fifo";
    case DT_SOCK: return "sock";
    case DT_CHR: return "chr";
    default: return std::to_string(type);
  }
}

std::string list(const std::vector<Entry>& entries) {
  std::string text;
  for (const Entry& entry : entries) text += " " + entry.name + ":" + type_letter(entry.type);
  return text;
}

void sort_by_name(std::vector<Entry>& entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& x, const Entry& y) { return x.name < y.name; });
}

// Entries whose inode number in the listing is not the one that stat gives.
std::string wrong_numbers(int fd, const std::vector<Entry>& entries) {
  std::string text;
  for (const Entry& entry : entries) {
    struct stat st {};
    if (entry.name == "..") continue;  // of a root it is the file system's own affair
    if (fstatat(fd, entry.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (st.st_ino != entry.ino) text += " wrong_d_ino=" + entry.name;
  }
  return text;
}

}  // namespace

Result exec_listdir(Agent& agent, const Op& op) {
  const int fd = agent.fd(op.fd);
  if (lseek(fd, 0, SEEK_SET) < 0) return outcome(-1);
  std::vector<Entry> entries;
  Result result = outcome(read_all(fd, entries));
  sort_by_name(entries);
  result.detail = list(entries);
  if (op.observe) result.detail += wrong_numbers(fd, entries);
  return result;
}

Result exec_getdents(Agent& agent, const Op& op) {
  // See exceptions(): a disk file system and the kernel's cache of a stateless mount remember
  // entries.
  if (!agent.exact_blocks || agent.profile == Profile::kStateless) {
    if (op.a < 24) return {.value = kNotMade};
    (void)lseek(agent.fd(op.fd), 0, SEEK_SET);
  }
  std::vector<Entry> entries;
  Result result = outcome(read_entries(agent.fd(op.fd), static_cast<std::size_t>(op.a), entries));
  result.detail = list(entries);
  return result;
}

// Goes back to the position after some entry and says whether the rest is what it was.
Result exec_seekdir(Agent& agent, const Op& op) {
  if (agent.profile == Profile::kStateless) return {.value = kNotMade};
  const int fd = agent.fd(op.fd);
  if (lseek(fd, 0, SEEK_SET) < 0) return outcome(-1);
  std::vector<Entry> all, rest;
  Result result = outcome(read_all(fd, all));
  if (result.value < 0 || all.empty()) return result;
  const std::size_t after = static_cast<std::size_t>(op.a) % all.size();
  if (lseek(fd, all[after].next, SEEK_SET) < 0) {
    result.detail = " seek_error=" + std::to_string(errno);
    return result;
  }
  result = outcome(read_all(fd, rest));
  const std::vector<Entry> expected(all.begin() + static_cast<std::ptrdiff_t>(after) + 1,
                                    all.end());
  result.detail = list(rest) == list(expected) ? " resumes" : " other_rest";
  result.detail += " count=" + std::to_string(all.size());
  return result;
}

Result exec_chdir(Agent& agent, const Op& op) {
  return outcome(op.kind == Kind::kChdir ? chdir(op.path.c_str()) : fchdir(agent.fd(op.fd)));
}

Result exec_getcwd(Agent&, const Op&) {
  std::array<char, PATH_MAX + 64> path{};
  Result result = outcome(syscall(SYS_getcwd, path.data(), path.size()));
  if (result.value > 0) result.detail = std::string(" cwd=") + path.data();
  return result;
}

}  // namespace passthroughfs::difftest
