// SPDX-License-Identifier: Apache-2.0
#include "embed/preflight.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"
#include "proto/mount_point.h"

namespace passthroughfs {
namespace {

enum class FuseState { alive, dead, silent };

// Asks a mounted file system for a sign of life. In a child, because nobody can be called back from
// a request that a hung daemon does not answer.
FuseState ask_fuse(const std::string& path) {
  constexpr int kDead = 3;
  constexpr int kPatienceMs = 2000;
  const pid_t child = fork();
  if (child < 0) return FuseState::alive;
  if (child == 0) {
    struct statx st {};
    const int done =
        statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC | AT_NO_AUTOMOUNT, STATX_SIZE, &st);
    _exit(done != 0 && (errno == ENOTCONN || errno == ECONNABORTED) ? kDead : 0);
  }
  UniqueFd handle(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));  // not in every libc
  pollfd waited{handle.get(), POLLIN, 0};
  const bool ended = handle.valid() && poll(&waited, 1, kPatienceMs) == 1;
  if (!ended) kill(child, SIGKILL);
  int status = 0;
  // A request that a daemon has read and not answered cannot be killed: then leave the child.
  if (waitpid(child, &status, ended ? 0 : WNOHANG) != child || !ended) return FuseState::silent;
  return WIFEXITED(status) && WEXITSTATUS(status) == kDead ? FuseState::dead : FuseState::alive;
}

Error cannot_use(std::string_view what, std::string_view path, int error) {
  return {error, fmt::format("{} '{}': {}", what, path, std::strerror(error))};
}

// What the kernel has gathered it does not give up for a change made on the source, and its own
// size and times of a file win over the source's.
Outcome<void> check_writeback(const MountConfig& config) {
  if (!config.writeback) return {};
  if (config.cache != CacheMode::forever) {
    return Error{EINVAL, "writeback needs cache=forever: the source must be this mount's alone"};
  }
  if (config.io == IoMode::passthrough) {
    return Error{EINVAL, "writeback and io=passthrough cannot be used together"};
  }
  if (config.handles == HandleMode::stateless) {
    return Error{EINVAL, "writeback needs handles=table"};
  }
  return {};
}

// The daemon has another working directory.
Outcome<void> resolve_journal(MountConfig& config) {
  if (config.journal_file.empty() || config.journal_file.front() == '/') return {};
  std::array<char, PATH_MAX> here;
  if (getcwd(here.data(), here.size()) == nullptr) {
    return cannot_use("journal", config.journal_file, errno);
  }
  config.journal_file = std::string(here.data()) + "/" + config.journal_file;
  return {};
}

Outcome<void> check_source(MountConfig& config, struct stat& root) {
  if (stat(config.source.c_str(), &root) != 0) {
    const int error = errno;
    if (error == ENOTCONN) {
      return Error{error,
                   fmt::format("source '{}' is a mount whose daemon has died; unmount it first",
                               config.source)};
    }
    return cannot_use("source", config.source, error);
  }
  if (!S_ISDIR(root.st_mode)) {
    return Error{ENOTDIR, fmt::format("source '{}' is not a directory", config.source)};
  }
  std::array<char, PATH_MAX> resolved;
  if (realpath(config.source.c_str(), resolved.data()) == nullptr) {
    return cannot_use("source", config.source, errno);
  }
  config.source = resolved.data();
  return {};
}

Outcome<void> check_mountpoint(MountConfig& config) {
  const std::string given = config.mountpoint;
  // Not a directory but /dev/fuse, of a mount that is there already.
  if (given.starts_with("/dev/fd/")) {
    return Error{ENOTSUP,
                 "mount.fuse has mounted by itself, as its option drop_privileges says: "
                 "that is not supported, leave the option out"};
  }
  auto found = find_mount_point(given);
  if (!found) return cannot_use("mount point", given, found.error().code);
  if (found->is_root && found->is_fuse()) {
    switch (ask_fuse(found->path)) {
      case FuseState::dead:
        return Error{EBUSY, fmt::format("mount point '{0}' is busy: a mount whose daemon has died "
                                        "(Transport endpoint is not connected); "
                                        "'fusermount3 -u {0}' or 'umount {0}' removes it",
                                        found->path)};
      case FuseState::silent:
        return Error{EBUSY, fmt::format("mount point '{}' is busy: a {} mount whose daemon does "
                                        "not answer",
                                        found->path, found->fs_type)};
      case FuseState::alive:
        return Error{EBUSY, fmt::format("mount point '{}' is busy: a {} file system is mounted "
                                        "there already",
                                        found->path, found->fs_type)};
    }
  }
  struct stat st {};
  if (stat(found->path.c_str(), &st) != 0) return cannot_use("mount point", given, errno);
  if (!S_ISDIR(st.st_mode)) {
    return Error{ENOTDIR, fmt::format("mount point '{}' is not a directory", given)};
  }
  config.mountpoint = found->path;
  return {};
}

// Walks up from the mount point by descriptors, so that bind mounts and symbolic links do not hide
// that it lies inside the source. The source itself is no such case: mounting over it is useful.
Outcome<void> check_not_inside(const MountConfig& config, const struct stat& source) {
  auto directory = own(open(config.mountpoint.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return cannot_use("mount point", config.mountpoint, directory.error().value());
  struct stat here {};
  if (fstat(directory->get(), &here) != 0) {
    return cannot_use("mount point", config.mountpoint, errno);
  }
  auto same = [](const struct stat& a, const struct stat& b) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
  };
  if (same(here, source)) return {};
  for (int depth = 0; depth < PATH_MAX; ++depth) {
    auto parent = own(openat(directory->get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat above {};
    // A directory above that may not be searched ends the walk: nothing can be known beyond it.
    if (!parent || fstat(parent->get(), &above) != 0) return {};
    if (same(above, source)) {
      return Error{EINVAL, fmt::format("mount point '{}' is inside the source '{}'",
                                       config.mountpoint, config.source)};
    }
    if (same(above, here)) return {};
    here = above;
    directory = std::move(parent);
  }
  return {};
}

}  // namespace

Outcome<void> preflight(MountConfig& config) {
  if (config.allow_other && config.allow_root) {
    return Error{EINVAL, "allow_other and allow_root cannot be used together"};
  }
  if (auto checked = check_writeback(config); !checked) return checked;
  if (auto resolved = resolve_journal(config); !resolved) return resolved;
  struct stat source {};
  if (auto checked = check_source(config, source); !checked) return checked;
  if (auto checked = check_mountpoint(config); !checked) return checked;
  if (auto checked = check_not_inside(config, source); !checked) return checked;
  if (access("/dev/fuse", F_OK) != 0) {
    return Error{ENODEV, "there is no /dev/fuse; is the kernel module 'fuse' loaded?"};
  }
  // Sandboxes put /dev/null in the place of what they do not give; mount(2) would say EINVAL.
  struct stat device {};
  if (stat("/dev/fuse", &device) == 0 &&
      (!S_ISCHR(device.st_mode) || device.st_rdev != makedev(10, 229))) {
    return Error{ENODEV, "/dev/fuse is not the FUSE device; does this container mask it?"};
  }
  return {};
}

}  // namespace passthroughfs
