// SPDX-License-Identifier: Apache-2.0
#include "control/socket_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "proto/socket_path.h"

namespace passthroughfs {
namespace {

constexpr int kBacklog = 16;

// The directory, made if it is not there. Refuses one that others could have put there or may
// change: a symbolic link, another owner, writable for others.
Result<UniqueFd> open_directory(const std::string& path) {
  const bool shared = path.starts_with("/run/passthroughfs");
  if (mkdir(path.c_str(), shared ? 0755 : 0700) != 0 && errno != EEXIST) return Errno::last();
  UniqueFd directory = TRY(own(open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)));
  struct stat st {};
  TRY(check(fstat(directory.get(), &st)));
  if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 022) != 0) return Err(EPERM);
  return directory;
}

}  // namespace

Result<SocketFile> SocketFile::create_in(const std::string& directory, const std::string& name) {
  SocketFile file;
  file.directory_ = TRY(open_directory(directory));
  file.listener_ = TRY(own(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
  // The mode that bind(2) gives the name, whatever the umask allows more.
  TRY(check(fchmod(file.listener_.get(), 0600)));
  // Bound under a name of its own first, so that rename(2) can replace a stale socket at once.
  const std::string temporary = fmt::format(".{}.{}", name, getpid());
  (void)unlinkat(file.directory_.get(), temporary.c_str(), 0);
  const sockaddr_un address = address_in(file.directory_.borrow(), temporary);
  TRY(check(
      bind(file.listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address)));
  struct stat st {};
  Result<void> done = check_void(listen(file.listener_.get(), kBacklog));
  if (done) {
    done = check_void(fstatat(file.directory_.get(), temporary.c_str(), &st, AT_SYMLINK_NOFOLLOW));
  }
  if (done) {
    done = check_void(
        renameat(file.directory_.get(), temporary.c_str(), file.directory_.get(), name.c_str()));
  }
  if (!done) {
    (void)unlinkat(file.directory_.get(), temporary.c_str(), 0);
    return done.error();
  }
  file.name_ = name;
  file.inode_ = st.st_ino;
  file.path_ = directory + "/" + name;
  file.parent_ = directory;
  return file;
}

Outcome<SocketFile> SocketFile::create(dev_t device, const std::vector<std::string>& directories) {
  const std::string name = socket_name(device);
  std::string reasons;
  int code = ENOENT;
  for (const std::string& directory : directories) {
    auto file = create_in(directory, name);
    // Another daemon may have removed the directory, empty for a moment, at its end.
    if (!file && file.error() == ENOENT) {
      if (auto again = create_in(directory, name)) return std::move(again).value();
    }
    if (file) return std::move(file).value();
    code = file.error().value();
    reasons +=
        fmt::format("{}{}: {}", reasons.empty() ? "" : ", ", directory, file.error().to_string());
  }
  return Error{code, "no control socket: " + reasons};
}

SocketFile::~SocketFile() {
  if (!directory_.valid() || name_.empty()) return;
  // A later mount may have got this device number, and the name with it.
  struct stat st {};
  if (fstatat(directory_.get(), name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      st.st_ino == inode_) {
    (void)unlinkat(directory_.get(), name_.c_str(), 0);
    (void)rmdir(parent_.c_str());  // the last one turns off the light; others keep it from going
  }
}

}  // namespace passthroughfs
