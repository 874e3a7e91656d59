// SPDX-License-Identifier: Apache-2.0
#include "channel/mount.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>

#include "base/fd_passing.h"

namespace passthroughfs {
namespace {

constexpr const char* kDevice = "/dev/fuse";
constexpr const char* kHelper = "fusermount3";
constexpr const char* kSocketVariable = "_FUSE_COMMFD";
constexpr std::size_t kMostOutput = std::size_t{64} * 1024;  // that we keep of what the helper says

std::string text_of_errno(Errno error) { return std::strerror(error.value()); }

// ---- what is mounted there already -------------------------------------------------------------

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescape_octal(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      const auto digit = [&](std::size_t at) { return (text[at] - '0') & 7; };
      out += static_cast<char>(digit(i + 1) << 6 | digit(i + 2) << 3 | digit(i + 3));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// The type of the topmost file system that is mounted exactly at `path`; empty if none is. From
// mountinfo, because statfs(2) on a FUSE mount asks its daemon, which may hang.
std::string mounted_type(const std::string& path) {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string type;
  for (std::string line; std::getline(mounts, line);) {
    // id parent major:minor root mountpoint options [fields...] - type source options
    std::istringstream fields(line);
    std::string field;
    std::string at;
    for (int i = 0; i < 4; ++i) fields >> field;
    fields >> at;
    if (unescape_octal(at) != path) continue;
    while (fields >> field && field != "-") {
    }
    fields >> type;  // a later line is a mount on top of an earlier one
  }
  return type;
}

// ---- running fusermount3 -----------------------------------------------------------------------

struct HelperOutcome {
  bool started = false;
  bool succeeded = false;
  std::string complaint;  // the last line it wrote to stderr
};

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (const auto newline = text.rfind('\n'); newline != std::string::npos) {
    text.erase(0, newline + 1);
  }
  return text;
}

// What the helper says, without its own name in front.
std::string stripped(const std::string& complaint) {
  const std::string prefix = std::string(kHelper) + ": ";
  return complaint.rfind(prefix, 0) == 0 ? complaint.substr(prefix.size()) : complaint;
}

std::string read_to_end(BorrowedFd fd) {
  std::string text;
  std::array<char, 1024> buffer;
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    if (text.size() < kMostOutput) text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

// Runs fusermount3 and waits for its end. `socket` is inherited by it, -1 for none.
HelperOutcome run_helper(std::vector<std::string> arguments, BorrowedFd socket) {
  HelperOutcome outcome;
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return outcome;
  UniqueFd from_helper(ends[0]);
  UniqueFd to_us(ends[1]);

  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (text.rfind(kSocketVariable, 0) != 0 && text.rfind("LC_", 0) != 0) {
      variables.emplace_back(text);
    }
  }
  variables.emplace_back("LC_ALL=C");  // its messages are compared below
  if (socket.valid()) variables.push_back(fmt::format("{}={}", kSocketVariable, socket.get()));

  arguments.insert(arguments.begin(), kHelper);
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> out;
    out.reserve(strings.size() + 1);
    for (std::string& string : strings) out.push_back(string.data());
    out.push_back(nullptr);
    return out;
  };
  std::vector<char*> argv = pointers(arguments);
  std::vector<char*> envp = pointers(variables);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_us.get(), STDERR_FILENO);
  // On itself: that only takes close-on-exec away, in the child.
  if (socket.valid()) posix_spawn_file_actions_adddup2(&actions, socket.get(), socket.get());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigfillset(&defaults);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  pid_t child = -1;
  const int error = posix_spawnp(&child, kHelper, &actions, &attributes, argv.data(), envp.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  to_us.reset();
  if (error != 0) return outcome;

  outcome.started = true;
  outcome.complaint = last_line(read_to_end(from_helper.borrow()));
  int status = 0;
  pid_t waited = -1;
  do {
    waited = ::waitpid(child, &status, 0);
  } while (waited < 0 && errno == EINTR);
  // With SIGCHLD ignored there is nothing to wait for; then what it said has to do.
  outcome.succeeded =
      waited == child ? WIFEXITED(status) && WEXITSTATUS(status) == 0 : outcome.complaint.empty();
  return outcome;
}

// The errno that the helper's message ends with, or EPERM.
Errno errno_of_complaint(std::string_view complaint) {
  for (const int error : {EBUSY, EACCES, ENOENT, ENOTDIR, EINVAL, ENODEV, ENOTCONN, ELOOP}) {
    if (complaint.find(std::strerror(error)) != std::string_view::npos) return Errno(error);
  }
  if (complaint.find("not found in /etc/mtab") != std::string_view::npos) return Errno(EINVAL);
  if (complaint.find("device not found") != std::string_view::npos) return Errno(ENODEV);
  return Errno(EPERM);
}

// The descriptor that the helper has sent. It has ended, so the message is there or never will be.
Result<UniqueFd> receive_fd(BorrowedFd socket) {
  std::array<char, 1> byte{};
  UniqueFd fd;
  if (receive_with_fd(socket, byte, MSG_DONTWAIT, fd) < 0) return Errno::last();
  if (!fd.valid()) return Err(EPROTO);
  return fd;
}

// ---- the two ways to mount ----------------------------------------------------------------------

// Options are separated by commas; a comma in a value is escaped, and so is the escape.
std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string source_name(const MountOptions& options) {
  return options.fsname.empty() ? options.subtype : options.fsname;
}

struct HelperOption {
  std::string text;
  bool dispensable;  // may be left out when the helper does not know it
};

std::vector<HelperOption> helper_options(const MountOptions& options) {
  std::vector<HelperOption> out;
  out.push_back({"fsname=" + escaped(source_name(options)), true});
  if (!options.subtype.empty()) out.push_back({"subtype=" + escaped(options.subtype), true});
  out.push_back({"default_permissions", false});
  if (options.allow_other || options.allow_root) out.push_back({"allow_other", false});
  if (options.max_read != 0) out.push_back({fmt::format("max_read={}", options.max_read), true});
  if (options.read_only) out.push_back({"ro", false});
  if (options.noatime) out.push_back({"noatime", true});
  if (options.nodev) out.push_back({"nodev", false});
  if (options.nosuid) out.push_back({"nosuid", false});
  if (options.noexec) out.push_back({"noexec", false});
  return out;
}

// Leaves out the option that the helper names as unknown. False: there is nothing to leave out.
bool drop_unknown(std::vector<HelperOption>& options, const std::string& complaint) {
  if (complaint.find("unknown option") == std::string::npos) return false;
  return std::erase_if(options, [&](const HelperOption& option) {
           const std::string name = option.text.substr(0, option.text.find('='));
           return option.dispensable && complaint.find("'" + name) != std::string::npos;
         }) != 0;
}

Result<UniqueFd> mount_by_helper(const MountOptions& options, std::string& message) {
  std::vector<HelperOption> wanted = helper_options(options);
  for (;;) {
    std::array<int, 2> ends;
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      const Errno error = Errno::last();
      message = "cannot make a socket: " + text_of_errno(error);
      return error;
    }
    const UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);

    std::string joined;
    for (const HelperOption& option : wanted) joined += (joined.empty() ? "" : ",") + option.text;
    const HelperOutcome outcome =
        run_helper({"-o", joined, "--", options.mountpoint}, theirs.borrow());
    theirs.reset();
    if (!outcome.started) {
      message = fmt::format(
          "mounting needs root (CAP_SYS_ADMIN) or the program {}, which is not installed", kHelper);
      return Err(EPERM);
    }
    Result<UniqueFd> device = receive_fd(ours.borrow());
    if (device) return device;
    if (outcome.complaint.empty()) {
      message = fmt::format("{} did not hand over {}", kHelper, kDevice);
      return outcome.succeeded ? device.error() : Err(EPERM);
    }
    if (drop_unknown(wanted, outcome.complaint)) continue;
    message = fmt::format("cannot mount {}: {}", options.mountpoint, stripped(outcome.complaint));
    return errno_of_complaint(outcome.complaint);
  }
}

unsigned long mount_flags(const MountOptions& options) {
  unsigned long flags = 0;
  if (options.read_only) flags |= MS_RDONLY;
  if (options.noatime) flags |= MS_NOATIME;
  if (options.nodev) flags |= MS_NODEV;
  if (options.nosuid) flags |= MS_NOSUID;
  if (options.noexec) flags |= MS_NOEXEC;
  return flags;
}

Result<void> mount_directly(const MountOptions& options, BorrowedFd device) {
  std::string data = fmt::format("fd={},rootmode={:o},user_id={},group_id={},default_permissions",
                                 device.get(), options.root_mode, ::geteuid(), ::getegid());
  if (options.allow_other || options.allow_root) data += ",allow_other";
  if (options.max_read != 0) data += fmt::format(",max_read={}", options.max_read);
  const std::string type = options.subtype.empty() ? "fuse" : "fuse." + options.subtype;
  return check_void(::mount(source_name(options).c_str(), options.mountpoint.c_str(), type.c_str(),
                            mount_flags(options), data.c_str()));
}

std::string direct_failure(const MountOptions& options, Errno error) {
  if (error == ENODEV) return "this kernel has no FUSE (try `modprobe fuse`)";
  if (error == ENOENT) return fmt::format("mount point {} does not exist", options.mountpoint);
  if (error == EBUSY) return fmt::format("mount point {} is busy", options.mountpoint);
  if (error == ENOTDIR) {
    return fmt::format("mount point {} and the source are not of the same kind",
                       options.mountpoint);
  }
  return fmt::format("cannot mount {}: {}", options.mountpoint, text_of_errno(error));
}

}  // namespace

Result<UniqueFd> mount_fuse(const MountOptions& options, std::string& message) {
  // The kernel would stack a second one on top, which nobody has ever wanted.
  const std::string type = mounted_type(options.mountpoint);
  if (type == "fuse" || type.rfind("fuse.", 0) == 0) {
    message = fmt::format("mount point {} is busy: a FUSE file system is mounted there already",
                          options.mountpoint);
    return Err(EBUSY);
  }
  Result<UniqueFd> device = own(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (!device) {
    const Errno error = device.error();
    // The helper may open it where we may not.
    if (error == EACCES || error == EPERM) return mount_by_helper(options, message);
    const bool missing = error == ENOENT || error == ENODEV || error == ENXIO;
    message = missing ? fmt::format(
                            "{} is missing: load the kernel module `fuse`, or give this "
                            "container the device",
                            kDevice)
                      : fmt::format("cannot open {}: {}", kDevice, text_of_errno(error));
    return error;
  }
  const Result<void> mounted = mount_directly(options, device->borrow());
  if (mounted) return device;
  if (mounted.error() == EPERM) {
    device->reset();
    return mount_by_helper(options, message);
  }
  message = direct_failure(options, mounted.error());
  return mounted.error();
}

Result<void> unmount(const std::string& mountpoint, bool lazy) {
  const int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
  if (::umount2(mountpoint.c_str(), flags) == 0) return ok();
  if (errno != EPERM) return Errno::last();
  std::vector<std::string> arguments{"-u"};
  if (lazy) arguments.emplace_back("-z");
  arguments.emplace_back("--");
  arguments.push_back(mountpoint);
  const HelperOutcome outcome = run_helper(std::move(arguments), BorrowedFd(-1));
  if (outcome.succeeded) return ok();
  return outcome.started ? errno_of_complaint(outcome.complaint) : Errno(EPERM);
}

void cut_connection(const std::string& mountpoint) noexcept {
  (void)::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | MNT_FORCE);
}

bool is_connected(BorrowedFd device) noexcept {
  pollfd asked{.fd = device.get(), .events = POLLIN, .revents = 0};
  return ::poll(&asked, 1, 0) >= 0 && (asked.revents & (POLLERR | POLLNVAL)) == 0;
}

}  // namespace passthroughfs
