// SPDX-License-Identifier: Apache-2.0
#include "fresh_pair.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace passthroughfs::difftest {
namespace {

[[noreturn]] void fail(const std::string& path) {
  std::perror(path.c_str());
  std::exit(2);
}

// Immutable and append-only files cannot be removed.
void make_removable(int dir, const char* name) {
  const int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return;
  constexpr int kLocks = FS_IMMUTABLE_FL | FS_APPEND_FL;
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & kLocks) != 0) {
    flags &= ~kLocks;
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
  }
  (void)fchmod(fd, 0700);
  close(fd);
}

// Takes over `fd`.
void empty_directory(int fd) {
  DIR* stream = fdopendir(fd);
  if (stream == nullptr) {
    close(fd);
    return;
  }
  std::vector<std::string> names;
  while (const dirent* entry = readdir(stream)) names.emplace_back(entry->d_name);
  for (const std::string& name : names) {
    if (name == "." || name == "..") continue;
    if (unlinkat(fd, name.c_str(), 0) == 0) continue;
    make_removable(fd, name.c_str());
    if (unlinkat(fd, name.c_str(), 0) == 0) continue;
    const int child = openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child >= 0) empty_directory(child);
    (void)unlinkat(fd, name.c_str(), AT_REMOVEDIR);
  }
  closedir(stream);
}

void remove_below(const std::string& path) {
  make_removable(AT_FDCWD, path.c_str());
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0) empty_directory(fd);
}

}  // namespace

FreshPair::FreshPair(std::string left, std::string right, bool in_place)
    : left_(std::move(left)), right_(std::move(right)), in_place_(in_place) {
  if (!in_place) {
    static int counter = 0;
    const std::string name = "/run" + std::to_string(getpid()) + "." + std::to_string(counter++);
    left_ += name;
    right_ += name;
    if (mkdir(left_.c_str(), 0777) != 0) fail(left_);
    if (mkdir(right_.c_str(), 0777) != 0) fail(right_);
  }
  if (chmod(left_.c_str(), 0777) != 0) fail(left_);
  if (chmod(right_.c_str(), 0777) != 0) fail(right_);
}

FreshPair::~FreshPair() {
  for (const std::string* path : {&left_, &right_}) {
    remove_below(*path);
    if (!in_place_ && rmdir(path->c_str()) != 0) std::perror(path->c_str());
  }
}

}  // namespace passthroughfs::difftest
