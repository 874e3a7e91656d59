// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "source/device_map.h"
#include "source/mount_fds.h"

namespace passthroughfs {

// The mirrored directory: its root descriptor and what is needed to work below it. Names are
// resolved one component at a time below descriptors held here or in the tables, so no request can
// name anything outside. Thread-safe after open().
class SourceTree {
 public:
  // After the last fork, unless recover() follows: what it keeps of /proc is this process's.
  // `message`: one line for the user. ENOTDIR, ENOENT, EACCES, or ENOENT for a missing /proc.
  // `own_mount`: through a private copy of the source's mount, which needs CAP_SYS_ADMIN, else
  // has_own_mount() stays false. `noatime`: through one that leaves access times alone, so that
  // reads in the kernel do too; likewise without_atime().
  struct Through {
    bool own_mount = false;
    bool noatime = false;
  };
  static Result<SourceTree> open(const std::string& path, std::string& message, Through through);
  static Result<SourceTree> open(const std::string& path, std::string& message) {
    return open(path, message, Through{});
  }

  // What keep() has kept of a source that another program opened, whose root this is; `through`
  // what it had. recover() follows.
  static Result<SourceTree> adopt(UniqueFd root, Through through, std::string& message);

  [[nodiscard]] bool has_own_mount() const noexcept { return through_.own_mount; }
  [[nodiscard]] bool without_atime() const noexcept { return through_.noatime; }

  [[nodiscard]] BorrowedFd root() const noexcept { return root_.borrow(); }

  // A child, O_PATH, never followed if it is a symbolic link.
  [[nodiscard]] Result<UniqueFd> child(BorrowedFd parent, const char* name) const noexcept;

  // Opens what an O_PATH (or other) descriptor refers to once more, with its own file description.
  // `flags`: access mode and O_*; O_NOFOLLOW, O_CREAT, O_EXCL and O_NOCTTY are ignored. Only for
  // regular files and directories: opening anything else could block or act.
  [[nodiscard]] Result<UniqueFd> reopen(BorrowedFd fd, int flags) const noexcept;

  // The current path of a descriptor below the source, without a leading slash, empty for the root;
  // `deleted` when it has none any more, then the last one. Absolute if it is not below the source,
  // and "/" if the kernel does not know: a file that was opened by handle and has no dentry.
  [[nodiscard]] std::string path_of(BorrowedFd fd, bool& deleted) const;

  // Makes what is learned about the source outlive the process, in memory and descriptors that a
  // successor inherits. Errors: those of Regions::make.
  Result<void> keep(Regions& regions);
  // For a process that was made with the memory of the one that called open() and shares its
  // descriptors, before any other thread exists: whatever an earlier such process has kept is there
  // again, and what is kept of /proc is this process's. The other's descriptor stays open, being
  // still of use there. `message` as for open(). std::bad_alloc.
  Result<void> recover(std::string& message);
  // What is open beyond what open() opened. Mounts before recover() as well as after it.
  template <typename Visit>
  void for_each_descriptor(Visit&& visit) const {
    if (recovered_) visit(proc_fd_.get());
    mounts_->for_each_descriptor(visit);
  }

  MountFds& mounts() noexcept { return *mounts_; }
  DeviceMap& devices() noexcept { return *devices_; }
  [[nodiscard]] std::uint64_t root_device() const noexcept { return root_device_; }

 private:
  SourceTree() = default;
  Result<void> open_proc(std::string& message);
  Result<void> look_at_root(std::string& message);

  UniqueFd root_;
  UniqueFd proc_fd_;  // /proc/self/fd
  std::uint64_t root_device_ = 0;
  Through through_;
  bool recovered_ = false;
  std::unique_ptr<MountFds> mounts_;
  std::unique_ptr<DeviceMap> devices_;
};

}  // namespace passthroughfs
