// SPDX-License-Identifier: Apache-2.0
#include "cli/init_probe.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/fd.h"
#include "wire/abi.h"

namespace passthroughfs {
namespace {

// What the child writes to its pipe.
struct Report {
  int error = 0;
  std::array<char, 60> step{};
  KernelOffer offer;
};

[[noreturn]] void finish(int pipe, const Report& report) {
  (void)!write(pipe, &report, sizeof report);
  _exit(0);
}

[[noreturn]] void fail(int pipe, const char* step) {
  Report report;
  report.error = errno;
  (void)std::snprintf(report.step.data(), report.step.size(), "%s", step);
  finish(pipe, report);
}

bool write_file(const char* path, const char* text) {
  const UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  const auto size = static_cast<ssize_t>(std::strlen(text));
  return fd.valid() && write(fd.get(), text, std::strlen(text)) == size;
}

// In the child, which has one thread.
[[noreturn]] void probe(int pipe) {
  alarm(10);  // whatever goes wrong, this does not stay
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(CLONE_NEWNS) != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) fail(pipe, "a mount namespace of its own");
    std::array<char, 64> map{};
    (void)write_file("/proc/self/setgroups", "deny");  // older kernels have none
    (void)std::snprintf(map.data(), map.size(), "%u %u 1", uid, uid);
    if (!write_file("/proc/self/uid_map", map.data())) fail(pipe, "writing uid_map");
    (void)std::snprintf(map.data(), map.size(), "%u %u 1", gid, gid);
    if (!write_file("/proc/self/gid_map", map.data())) fail(pipe, "writing gid_map");
  }
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    fail(pipe, "making the namespace private");
  }
  // Opened now: the mount's user namespace has to be the one of this descriptor.
  const UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!device.valid()) fail(pipe, "opening /dev/fuse");
  std::array<char, 128> options{};
  (void)std::snprintf(options.data(), options.size(), "fd=%d,rootmode=40000,user_id=%u,group_id=%u",
                      device.get(), uid, gid);
  if (mount("passthroughfs-doctor", "/", "fuse", MS_NODEV | MS_NOSUID, options.data()) != 0) {
    fail(pipe, "mounting");
  }
  pollfd waited{device.get(), POLLIN, 0};
  if (poll(&waited, 1, 5000) != 1) {
    errno = ETIMEDOUT;
    fail(pipe, "the INIT request");
  }
  alignas(8) std::array<std::byte, 64U << 10> buffer;
  const ssize_t n = read(device.get(), buffer.data(), buffer.size());
  if (n < 0) fail(pipe, "reading the INIT request");
  wire::InHeader header{};
  wire::InitIn init{};
  if (n < static_cast<ssize_t>(sizeof header + wire::kCompatInitInSize)) {
    errno = EPROTO;
    fail(pipe, "the INIT request");
  }
  std::memcpy(&header, buffer.data(), sizeof header);
  std::memcpy(&init, buffer.data() + sizeof header,
              std::min(sizeof init, static_cast<std::size_t>(n) - sizeof header));
  Report report;
  report.offer.major = init.major;
  report.offer.minor = init.minor;
  report.offer.flags = init.flags;
  if ((init.flags & wire::init_flag::init_ext) != 0) {
    report.offer.flags |= std::uint64_t{init.flags2} << 32;
  }
  finish(pipe, report);
}

struct FlagName {
  std::uint64_t flag;
  const char* name;
};
namespace f = wire::init_flag;
constexpr auto kFlagNames = std::to_array<FlagName>({
    {f::async_read, "ASYNC_READ"},
    {f::posix_locks, "POSIX_LOCKS"},
    {f::file_ops, "FILE_OPS"},
    {f::atomic_o_trunc, "ATOMIC_O_TRUNC"},
    {f::export_support, "EXPORT_SUPPORT"},
    {f::big_writes, "BIG_WRITES"},
    {f::dont_mask, "DONT_MASK"},
    {f::splice_write, "SPLICE_WRITE"},
    {f::splice_move, "SPLICE_MOVE"},
    {f::splice_read, "SPLICE_READ"},
    {f::flock_locks, "FLOCK_LOCKS"},
    {f::has_ioctl_dir, "HAS_IOCTL_DIR"},
    {f::auto_inval_data, "AUTO_INVAL_DATA"},
    {f::do_readdirplus, "DO_READDIRPLUS"},
    {f::readdirplus_auto, "READDIRPLUS_AUTO"},
    {f::async_dio, "ASYNC_DIO"},
    {f::writeback_cache, "WRITEBACK_CACHE"},
    {f::no_open_support, "NO_OPEN_SUPPORT"},
    {f::parallel_dirops, "PARALLEL_DIROPS"},
    {f::handle_killpriv, "HANDLE_KILLPRIV"},
    {f::posix_acl, "POSIX_ACL"},
    {f::abort_error, "ABORT_ERROR"},
    {f::max_pages, "MAX_PAGES"},
    {f::cache_symlinks, "CACHE_SYMLINKS"},
    {f::no_opendir_support, "NO_OPENDIR_SUPPORT"},
    {f::explicit_inval_data, "EXPLICIT_INVAL_DATA"},
    {f::map_alignment, "MAP_ALIGNMENT"},
    {f::submounts, "SUBMOUNTS"},
    {f::handle_killpriv_v2, "HANDLE_KILLPRIV_V2"},
    {f::setxattr_ext, "SETXATTR_EXT"},
    {f::init_ext, "INIT_EXT"},
    {f::security_ctx, "SECURITY_CTX"},
    {f::has_inode_dax, "HAS_INODE_DAX"},
    {f::create_supp_group, "CREATE_SUPP_GROUP"},
    {f::has_expire_only, "HAS_EXPIRE_ONLY"},
    {f::direct_io_allow_mmap, "DIRECT_IO_ALLOW_MMAP"},
    {f::passthrough, "PASSTHROUGH"},
    {f::no_export_support, "NO_EXPORT_SUPPORT"},
    {f::has_resend, "HAS_RESEND"},
    {f::allow_idmap, "ALLOW_IDMAP"},
    {f::over_io_uring, "OVER_IO_URING"},
    {f::request_timeout, "REQUEST_TIMEOUT"},
});

}  // namespace

Outcome<KernelOffer> probe_kernel() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Error{errno, fmt::format("pipe: {}", std::strerror(errno))};
  }
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = fork();
  if (child < 0) return Error{errno, fmt::format("fork: {}", std::strerror(errno))};
  if (child == 0) probe(writing.get());
  writing.reset();
  Report report;
  ssize_t n = 0;
  do {
    n = read(reading.get(), &report, sizeof report);
  } while (n < 0 && errno == EINTR);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (n != sizeof report) return Error{EIO, "the probe died"};
  if (report.error != 0) {
    return Error{report.error,
                 fmt::format("{}: {}", report.step.data(), std::strerror(report.error))};
  }
  return report.offer;
}

std::vector<std::string> init_flag_names(std::uint64_t flags) {
  std::vector<std::string> names;
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t flag = std::uint64_t{1} << bit;
    if ((flags & flag) == 0) continue;
    const auto* row = std::find_if(kFlagNames.begin(), kFlagNames.end(),
                                   [&](const FlagName& name) { return name.flag == flag; });
    names.push_back(row == kFlagNames.end() ? fmt::format("bit {}", bit) : row->name);
  }
  return names;
}

}  // namespace passthroughfs
