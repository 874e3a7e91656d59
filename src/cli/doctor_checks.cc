// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor_checks.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/capability.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/fd.h"
#include "channel/uring.h"
#include "cli/init_probe.h"
#include "proto/socket_path.h"
#include "source/change_events.h"
#include "wire/abi.h"

namespace passthroughfs {
namespace {

std::optional<std::string> first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

std::uint64_t number_in(const char* path) {
  const std::string line = first_line(path).value_or("0");
  std::uint64_t number = 0;
  (void)std::from_chars(line.data(), line.data() + line.size(), number);
  return number;
}

std::uint64_t effective_capabilities() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view kField = "CapEff:\t";
    if (!line.starts_with(kField)) continue;
    std::uint64_t capabilities = 0;
    (void)std::from_chars(line.data() + kField.size(), line.data() + line.size(), capabilities, 16);
    return capabilities;
  }
  return 0;
}

bool has_capability(unsigned number) { return (effective_capabilities() >> number & 1U) != 0; }

// A user namespace's CAP_SYS_ADMIN is none for the kernel's passthrough.
bool in_initial_user_namespace() {
  const std::string map = first_line("/proc/self/uid_map").value_or("");
  std::istringstream fields(map);
  std::uint64_t inside = 1, outside = 1, count = 0;
  fields >> inside >> outside >> count;
  return inside == 0 && outside == 0 && count == 4294967295U;
}

Check kernel_release() {
  utsname name{};
  (void)uname(&name);
  unsigned major = 0, minor = 0;
  (void)std::sscanf(name.release, "%u.%u", &major, &minor);
  Check check{.name = "kernel", .value = name.release};
  if (major < 6 || (major == 6 && minor < 1)) {
    check.ok = false;
    check.hint = "older than 6.1, the oldest that is tested";
  }
  return check;
}

Check fuse_device() {
  Check check{.name = "/dev/fuse"};
  const UniqueFd fd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  check.ok = fd.valid();
  check.value = check.ok ? "can be opened" : std::strerror(errno);
  struct stat st {};
  if (check.ok && fstat(fd.get(), &st) == 0 && st.st_rdev != makedev(10, 229)) {
    check.ok = false;
    check.value = "is another device";
    check.hint = "a container masks it: give it the device /dev/fuse";
    return check;
  }
  if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
    check.hint = check.ok ? "" : "load the kernel module: modprobe fuse";
  } else if (!check.ok) {
    check.hint = "fusermount3 opens it for users; without fusermount3 it needs mode 0666";
  }
  return check;
}

std::vector<Check> kernel_offer() {
  std::vector<Check> checks;
  const auto offer = probe_kernel();
  if (!offer) {
    checks.push_back({.name = "protocol",
                      .ok = false,
                      .value = "unknown",
                      .hint = "could not be probed (" + offer.error().message + "); root can"});
    return checks;
  }
  Check protocol{.name = "protocol", .value = fmt::format("{}.{}", offer->major, offer->minor)};
  protocol.list = init_flag_names(offer->flags);
  if (offer->major != wire::kMajor || offer->minor < wire::kOldestMinor) {
    protocol.ok = false;
    protocol.hint = fmt::format("7.{} is the oldest that is served", wire::kOldestMinor);
  }
  checks.push_back(std::move(protocol));

  const bool passthrough = (offer->flags & wire::init_flag::passthrough) != 0;
  const bool admin = has_capability(CAP_SYS_ADMIN) && in_initial_user_namespace();
  Check io{.name = "kernel passthrough", .ok = passthrough && admin};
  io.value = !passthrough ? "the kernel has none"
             : admin      ? "possible"
                          : "the kernel has it, but this user may not use it";
  if (!passthrough) {
    io.hint = "needs Linux 6.9 with CONFIG_FUSE_PASSTHROUGH; reads and writes run in the daemon";
  } else if (!admin) {
    io.hint = "needs CAP_SYS_ADMIN outside of user namespaces; reads and writes run in the daemon";
  }
  checks.push_back(std::move(io));

  const bool resend = (offer->flags & wire::init_flag::has_resend) != 0;
  checks.push_back(
      {.name = "resend after a crash",
       .ok = resend,
       .value = resend ? "offered: recover=on survives a crash of the server, over /dev/fuse"
                       : "not offered",
       .hint = resend ? "" : "needs Linux 6.9; recover=on serves as recover=off does"});
  return checks;
}

Check io_uring() {
  constexpr const char* kParameter = "/sys/module/fuse/parameters/enable_uring";
  const auto value = first_line(kParameter);
  const std::string obstacle = uring_obstacle();
  Check check{.name = "FUSE over io_uring"};
  if (obstacle.empty()) {
    check.value = "possible; used with recover=off or transport=uring, which a crash ends";
    return check;
  }
  check.ok = false;
  check.value = obstacle;
  if (!value) {
    check.hint = "needs Linux 6.14 with CONFIG_FUSE_IO_URING";
  } else if (*value != "Y" && *value != "1") {
    check.value = "disabled";
    check.hint = fmt::format("as root: echo Y > {}", kParameter);
  } else {
    check.hint = "mounts work over /dev/fuse";
  }
  return check;
}

std::string find_in_path(const char* program) {
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe)
  std::istringstream directories(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    std::string file = (directory.empty() ? "." : directory) + "/" + program;
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

// The first line that the program prints.
std::string output_of(const std::string& program, const char* argument) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);
  std::string name = program;
  std::string word = argument;
  std::array<char*, 3> arguments = {name.data(), word.data(), nullptr};
  pid_t child = -1;
  const int error =
      posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return {};
  writing.reset();
  std::string text;
  std::array<char, 512> buffer;
  for (ssize_t n = 0; (n = read(reading.get(), buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return text.substr(0, text.find('\n'));
}

Check fusermount() {
  Check check{.name = "fusermount3"};
  const std::string path = find_in_path("fusermount3");
  if (path.empty()) {
    check.ok = geteuid() == 0;
    check.value = "not found";
    check.hint = "users other than root need it to mount: install the package fuse3";
    return check;
  }
  const std::string version = output_of(path, "--version");
  const std::size_t number = version.find_last_of(' ');
  check.value = fmt::format("{}, version {}", path,
                            number == std::string::npos ? "unknown" : version.substr(number + 1));
  struct stat st {};
  if (stat(path.c_str(), &st) == 0 && ((st.st_mode & S_ISUID) == 0 || st.st_uid != 0)) {
    check.ok = geteuid() == 0;
    check.hint = "it is not setuid root, so users cannot mount with it";
  }
  return check;
}

Check allow_other() {
  std::ifstream file("/etc/fuse.conf");
  bool allowed = false;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    if (words >> word && word == "user_allow_other") allowed = true;
  }
  Check check{.name = "user_allow_other", .value = allowed ? "set" : "not set"};
  check.ok = allowed || geteuid() == 0;
  if (!check.ok) check.hint = "allow_other needs this word in a line of /etc/fuse.conf";
  return check;
}

Check capabilities() {
  struct Wanted {
    unsigned number;
    const char* name;
    const char* use;
  };
  constexpr auto kWanted = std::to_array<Wanted>({
      {CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "mounting without fusermount3, kernel passthrough"},
      {CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "trees with more inodes than descriptors"},
      {CAP_SETUID, "CAP_SETUID", "files of other users (allow_other)"},
      {CAP_SETGID, "CAP_SETGID", "files of other users (allow_other)"},
      {CAP_CHOWN, "CAP_CHOWN", "chown"},
      {CAP_FOWNER, "CAP_FOWNER", "chmod and times of other users' files"},
      {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "files that this user has no permission for"},
      {CAP_MKNOD, "CAP_MKNOD", "device files"},
      {CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE",
       "blocks reserved for root, and quotas as root has them"},
  });
  Check check{.name = "capabilities"};
  std::string missing;
  for (const Wanted& wanted : kWanted) {
    if (has_capability(wanted.number)) {
      check.list.emplace_back(wanted.name);
    } else {
      missing += fmt::format("{}{} ({})", missing.empty() ? "" : ", ", wanted.name, wanted.use);
    }
  }
  check.ok = missing.empty();
  check.value = check.list.empty() ? "none"
                : check.ok         ? "all that are of use"
                                   : fmt::format("{} of {}", check.list.size(), kWanted.size());
  if (!check.ok) check.hint = "missing: " + missing;
  return check;
}

Check file_handles() {
  Check check{.name = "open_by_handle_at"};
  alignas(file_handle) std::array<char, sizeof(file_handle) + MAX_HANDLE_SZ> memory{};
  auto* handle = reinterpret_cast<file_handle*>(memory.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  const UniqueFd here(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (name_to_handle_at(here.get(), "", handle, &mount, AT_EMPTY_PATH) != 0) {
    check.ok = false;
    check.value = fmt::format("the file system of / has no handles: {}", std::strerror(errno));
    check.hint = "other sources may have them";
    return check;
  }
  const UniqueFd opened(open_by_handle_at(here.get(), handle, O_PATH | O_CLOEXEC));
  check.ok = opened.valid();
  check.value = check.ok ? "possible" : std::strerror(errno);
  if (!check.ok) {
    check.hint = "needs CAP_DAC_READ_SEARCH; without it each known inode needs a descriptor";
  }
  return check;
}

Check watched_source() {
  Check check{.name = "fanotify"};
  const auto possible = ChangeEvents::probe();
  check.ok = possible.has_value();
  check.value = check.ok ? "possible: cache=coherent hears of changes behind a mount"
                         : possible.error().to_string();
  if (!check.ok) {
    check.hint =
        "needs CAP_SYS_ADMIN outside of user namespaces and Linux 5.17; without it cache=coherent "
        "serves as cache=normal does";
  }
  return check;
}

Check descriptor_limit() {
  rlimit limit{};
  (void)getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t nr_open = number_in("/proc/sys/fs/nr_open");
  Check check{.name = "RLIMIT_NOFILE"};
  check.value =
      fmt::format("soft {}, hard {}, nr_open {}", limit.rlim_cur, limit.rlim_max, nr_open);
  constexpr rlim_t kPlenty = 65536;
  // The daemon goes up to the hard limit, and not beyond it: that is the administrator's word.
  if (limit.rlim_max < kPlenty) {
    check.ok = false;
    check.hint =
        "large trees need more descriptors: raise the hard limit "
        "(/etc/security/limits.conf, LimitNOFILE= in systemd)";
  }
  return check;
}

std::vector<Check> sysctls() {
  std::vector<Check> checks;
  const std::uint64_t pages = number_in("/proc/sys/fs/fuse/max_pages_limit");
  if (pages != 0) {
    checks.push_back(
        {.name = "fs.fuse.max_pages_limit",
         .value = fmt::format("{} (requests up to {} KiB)", pages,
                              pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) / 1024)});
  }
  for (const char* name : {"default_request_timeout", "max_request_timeout"}) {
    const auto value = first_line(fmt::format("/proc/sys/fs/fuse/{}", name).c_str());
    if (!value) continue;
    Check check{.name = fmt::format("fs.fuse.{}", name), .ok = *value == "0", .value = *value};
    if (!check.ok) {
      check.hint = "a request that waits this many seconds, for a lock too, ends the whole mount";
    }
    checks.push_back(std::move(check));
  }
  return checks;
}

Check connections() {
  Check check{.name = "fusectl"};
  check.ok = false;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" fusectl ") != std::string::npos) check.ok = true;
  }
  check.value = check.ok ? "mounted" : "not mounted";
  if (!check.ok) {
    check.hint =
        "a hung mount could be aborted there: mount -t fusectl none "
        "/sys/fs/fuse/connections";
  }
  return check;
}

Check socket_directory() {
  Check check{.name = "control sockets"};
  for (const std::string& directory : socket_directories(geteuid())) {
    const std::string parent = directory.substr(0, directory.rfind('/'));
    const bool there = access(directory.c_str(), F_OK) == 0;
    if (access((there ? directory : parent).c_str(), W_OK | X_OK) != 0) continue;
    check.value = directory;
    if (directory.starts_with("/tmp/")) {
      check.hint = "XDG_RUNTIME_DIR is not set; commands of the same user and root find it there";
    }
    return check;
  }
  check.ok = false;
  check.value = "no directory for them can be written";
  check.hint = "handles, stats and top will not find the mount: set XDG_RUNTIME_DIR";
  return check;
}

}  // namespace

std::vector<Check> run_checks() {
  std::vector<Check> checks;
  auto add = [&checks](std::vector<Check> more) {
    for (Check& check : more) checks.push_back(std::move(check));
  };
  checks.push_back(kernel_release());
  checks.push_back(fuse_device());
  add(kernel_offer());
  checks.push_back(io_uring());
  checks.push_back(fusermount());
  checks.push_back(allow_other());
  checks.push_back(capabilities());
  checks.push_back(file_handles());
  checks.push_back(watched_source());
  checks.push_back(descriptor_limit());
  add(sysctls());
  checks.push_back(connections());
  checks.push_back(socket_directory());
  return checks;
}

}  // namespace passthroughfs
