// SPDX-License-Identifier: Apache-2.0
#include "support/temp_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

namespace passthroughfs::test {
namespace {

void clear_flags(int dir, const char* name) {
  const int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    return;
  }
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & (FS_APPEND_FL | FS_IMMUTABLE_FL)) != 0) {
    flags &= ~(FS_APPEND_FL | FS_IMMUTABLE_FL);
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
  }
  close(fd);
}

// Removes what is in the directory `fd` (which it closes) as long as it is on `device`.
void remove_entries(int fd, dev_t device) {
  DIR* dir = fdopendir(fd);
  if (dir == nullptr) {
    close(fd);
    return;
  }
  while (const dirent* entry = readdir(dir)) {
    const char* name = entry->d_name;
    struct stat st {};
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_dev != device) {
      continue;
    }
    const bool directory = S_ISDIR(st.st_mode);
    if (unlinkat(fd, name, directory ? AT_REMOVEDIR : 0) == 0) {
      continue;
    }
    if (directory || S_ISREG(st.st_mode)) {
      clear_flags(fd, name);
    }
    if (directory) {
      (void)fchmodat(fd, name, 0700, 0);
      const int child = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (child >= 0) {
        remove_entries(child, device);
      }
    }
    (void)unlinkat(fd, name, directory ? AT_REMOVEDIR : 0);
  }
  closedir(dir);
}

void detach_mounts_below(const std::string& path) {
  std::ifstream mounts("/proc/self/mountinfo");
  std::vector<std::string> found;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point;
    fields >> id >> parent >> device >> root >> point;
    if (point.rfind(path + "/", 0) == 0) {
      found.push_back(point);
    }
  }
  for (auto point = found.rbegin(); point != found.rend(); ++point) {
    (void)umount2(point->c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

}  // namespace

TempTree::TempTree(Medium medium) {
  const char* base = std::getenv("PFS_TEST_DIR");
  if (medium == Medium::kMemory) {
    base = "/dev/shm";
  } else if (base == nullptr || *base == '\0') {
    base = "/tmp";
  }
  path_ = std::string(base) + "/pfs-test-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr || chmod(path_.c_str(), 0755) != 0) {
    throw std::system_error(errno, std::generic_category(), path_);
  }
}

TempTree::~TempTree() { remove(path_); }

void TempTree::remove(const std::string& path) {
  detach_mounts_below(path);
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st {};
  if (fd >= 0 && fstat(fd, &st) == 0) {
    remove_entries(fd, st.st_dev);
  }
  (void)rmdir(path.c_str());
}

std::string TempTree::operator/(std::string_view name) const {
  return path_ + "/" + std::string(name);
}

std::string TempTree::make_dir(std::string_view name, unsigned mode) const {
  std::string path = *this / name;
  if (mkdir(path.c_str(), 0700) != 0 || chmod(path.c_str(), mode) != 0) {
    throw std::system_error(errno, std::generic_category(), path);
  }
  return path;
}

}  // namespace passthroughfs::test
