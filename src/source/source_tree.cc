// SPDX-License-Identifier: Apache-2.0
#include "source/source_tree.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string_view>

#include "source/sys.h"

namespace passthroughfs {

namespace {

// The source on a mount of its own that belongs to nobody else.
UniqueFd private_mount(const std::string& path, bool noatime) noexcept {
  UniqueFd tree(
      ::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!noatime) return tree;
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOATIME;
  attributes.attr_clr = MOUNT_ATTR__ATIME;
  if (tree.valid() && ::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                                      sizeof attributes) != 0) {
    tree.reset();
  }
  return tree;
}

}  // namespace

Result<SourceTree> SourceTree::open(const std::string& path, std::string& message,
                                    Through through) {
  SourceTree tree;
  auto root = own(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    message = "source " + path + ": " + root.error().to_string();
    return root.error();
  }
  tree.root_ = std::move(*root);
  if (through.own_mount || through.noatime) {
    UniqueFd own_mount = private_mount(path, through.noatime);
    if (own_mount.valid()) {
      tree.root_ = std::move(own_mount);
      tree.through_ = {.own_mount = true, .noatime = through.noatime};
    }
  }
  if (auto looked = tree.look_at_root(message); !looked) {
    message = "source " + path + ": " + message;
    return looked.error();
  }
  return tree;
}

Result<SourceTree> SourceTree::adopt(UniqueFd root, Through through, std::string& message) {
  SourceTree tree;
  tree.root_ = std::move(root);
  tree.through_ = through;
  TRY(tree.look_at_root(message));
  return tree;
}

Result<void> SourceTree::look_at_root(std::string& message) {
  TRY(open_proc(message));
  auto st = sys::stat_at(root(), "", STATX_BASIC_STATS);
  if (!st) {
    message = st.error().to_string();
    return st.error();
  }
  root_device_ = device_number(st->stx_dev_major, st->stx_dev_minor);
  mounts_ = std::make_unique<MountFds>();
  devices_ = std::make_unique<DeviceMap>(root_device_);
  return ok();
}

Result<void> SourceTree::open_proc(std::string& message) {
  auto proc = own(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc) {
    message = "/proc/self/fd is needed: " + proc.error().to_string();
    return proc.error();
  }
  // An earlier one is the process's that came before, and is not ours to close.
  (void)proc_fd_.release();
  proc_fd_ = std::move(*proc);
  return ok();
}

Result<void> SourceTree::keep(Regions& regions) {
  TRY(mounts_->keep(regions));
  return devices_->keep(regions);
}

Result<void> SourceTree::recover(std::string& message) {
  TRY(open_proc(message));
  recovered_ = true;
  mounts_->recover();
  devices_->recover();
  return ok();
}

Result<UniqueFd> SourceTree::child(BorrowedFd parent, const char* name) const noexcept {
  return own(::openat(parent.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

Result<UniqueFd> SourceTree::reopen(BorrowedFd fd, int flags) const noexcept {
  std::array<char, 16> name{};
  (void)std::to_chars(name.data(), name.data() + name.size() - 1, fd.get());
  // O_NOFOLLOW would refuse the link in /proc; what it leads to is the object itself.
  flags &= ~(O_NOFOLLOW | O_CREAT | O_EXCL | O_NOCTTY);
  return own(::openat(proc_fd_.get(), name.data(), flags | O_CLOEXEC));
}

std::string SourceTree::path_of(BorrowedFd fd, bool& deleted) const {
  const auto read_link = [](BorrowedFd target) {
    std::string text(PATH_MAX, '\0');
    const ssize_t size = ::readlink(sys::ProcFdPath(target).c_str(), text.data(), text.size());
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return text;
  };
  constexpr std::string_view kDeleted = " (deleted)";
  std::string root = read_link(root_.borrow());
  std::string path = read_link(fd);
  if (path == root) {
    path.clear();
  } else {
    if (!root.ends_with('/')) root += '/';
    if (path.starts_with(root)) path.erase(0, root.size());
  }
  auto st = sys::stat_at(fd);
  deleted = st && st->stx_nlink == 0;
  if (path.ends_with(kDeleted)) {
    // The kernel says so of the name by which this was opened. There may be others, and a file may
    // really be called this. Never asked by an absolute path: that may lead into our own mount.
    auto named = path.front() == '/' ? Result<struct statx>(Err(ENOENT))
                                     : sys::stat_at(root_.borrow(), path.c_str(), STATX_INO);
    const bool is_name = !deleted && st && named && named->stx_ino == st->stx_ino &&
                         named->stx_dev_major == st->stx_dev_major &&
                         named->stx_dev_minor == st->stx_dev_minor;
    if (!is_name) path.resize(path.size() - kDeleted.size());
  }
  return path;
}

}  // namespace passthroughfs
