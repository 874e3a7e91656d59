// SPDX-License-Identifier: Apache-2.0
#include "source/credentials.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace passthroughfs {
namespace {

std::atomic<bool> g_impersonate{false};
thread_local mode_t t_umask = static_cast<mode_t>(-1);
enum class Reserves : unsigned char { unknown, denied, allowed };
thread_local Reserves t_reserves = Reserves::unknown;

struct Capabilities {
  std::array<__user_cap_data_struct, 2> data{};

  bool read() noexcept {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    return ::syscall(SYS_capget, &header, data.data()) == 0;
  }
  bool write() noexcept {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    return ::syscall(SYS_capset, &header, data.data()) == 0;
  }
  void raise(std::uint64_t bits) noexcept {
    data[0].effective |= static_cast<std::uint32_t>(bits) & data[0].permitted;
    data[1].effective |= static_cast<std::uint32_t>(bits >> 32) & data[1].permitted;
  }
  [[nodiscard]] bool has(unsigned capability) const noexcept {
    return (data[capability / 32].effective & (1U << (capability % 32))) != 0;
  }
  void lower(std::uint64_t bits) noexcept {
    data[0].effective &= ~static_cast<std::uint32_t>(bits);
    data[1].effective &= ~static_cast<std::uint32_t>(bits >> 32);
  }
};

// The set that setfsuid(2) drops and gives back: rights over files.
constexpr std::uint64_t kFileCapabilities = (1ULL << CAP_CHOWN) | (1ULL << CAP_DAC_OVERRIDE) |
                                            (1ULL << CAP_DAC_READ_SEARCH) | (1ULL << CAP_FOWNER) |
                                            (1ULL << CAP_FSETID) | (1ULL << CAP_LINUX_IMMUTABLE) |
                                            (1ULL << CAP_MKNOD) | (1ULL << CAP_MAC_OVERRIDE);
static_assert((1ULL << CAP_DAC_READ_SEARCH) == kCapDacReadSearch);
static_assert((1ULL << CAP_FSETID) == kCapFsetid);

bool same_user_namespace(pid_t pid) {
  struct stat own {};
  struct stat theirs {};
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/user";
  return ::stat("/proc/self/ns/user", &own) == 0 && ::stat(path.c_str(), &theirs) == 0 &&
         own.st_ino == theirs.st_ino && own.st_dev == theirs.st_dev;
}

// The value of a "Key:\tvalue" line. `key` begins with the newline before it: a process may have
// any name, but the kernel escapes newlines in it.
std::string_view field(std::string_view text, std::string_view key) {
  std::size_t at = text.find(key);
  if (at == std::string_view::npos) return {};
  at += key.size();
  return text.substr(at, text.find('\n', at) - at);
}

// The numbers of a line, up to the first thing that is none.
template <typename Visit>
void for_each_number(std::string_view line, Visit&& visit) {
  const char* at = line.data();
  const char* end = at + line.size();
  while (at != end) {
    if (*at == ' ' || *at == '\t') {
      ++at;
      continue;
    }
    std::uint32_t number = 0;
    const auto parsed = std::from_chars(at, end, number);
    if (parsed.ec != std::errc()) break;
    visit(number);
    at = parsed.ptr;
  }
}

// Of real, effective, saved and file system id the last.
std::uint32_t file_system_id(std::string_view line) {
  std::uint32_t last = static_cast<std::uint32_t>(-1);
  for_each_number(line, [&](std::uint32_t number) { last = number; });
  return last;
}

}  // namespace

void enable_impersonation() noexcept {
  Capabilities caps;
  if (::geteuid() != 0 || !caps.read() || !caps.has(CAP_SETUID) || !caps.has(CAP_SETGID)) return;
  g_impersonate.store(true);
}
bool impersonation_enabled() noexcept { return g_impersonate.load(std::memory_order_relaxed); }

bool own_umask() noexcept {
  // Without a private fs_struct the mask would be the whole process's.
  const bool own = ::unshare(CLONE_FS) == 0;
  (void)::umask(0);
  t_umask = 0;
  return own;
}

void set_thread_umask(mode_t mask) noexcept {
  if (t_umask == mask) return;
  (void)::umask(mask);
  t_umask = mask;
}

Result<CallerRights> CallerRights::read(pid_t pid) {
  if (pid <= 0) return Err(ESRCH);
  const std::string path = "/proc/" + std::to_string(pid) + "/status";
  auto file = own(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Err(ESRCH);
  std::string text;
  // A process may be in 65536 groups; the file then has some hundred KiB.
  for (;;) {
    const std::size_t old = text.size();
    text.resize(old + 4096);
    const ssize_t got = ::read(file->get(), text.data() + old, 4096);
    text.resize(old + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got <= 0) break;
  }
  if (text.empty()) return Err(ESRCH);

  CallerRights rights;
  rights.uid = file_system_id(field(text, "\nUid:"));
  rights.gid = file_system_id(field(text, "\nGid:"));
  for_each_number(field(text, "\nGroups:"), [&](gid_t group) { rights.groups.push_back(group); });
  const std::string_view effective = field(text, "\nCapEff:\t");
  std::uint64_t bits = 0;
  (void)std::from_chars(effective.data(), effective.data() + effective.size(), bits, 16);
  bits &= kFileCapabilities;
  if (bits != 0 && same_user_namespace(pid)) rights.file_capabilities = bits;
  return rights;
}

Result<CallerRights> CallerRights::of(const Caller& caller) {
  CallerRights rights = TRY(read(caller.pid));
  if (rights.uid != caller.uid || rights.gid != caller.gid) return Err(ESRCH);
  return rights;
}

void set_thread_reserves(bool allowed) noexcept {
  const Reserves wanted = allowed ? Reserves::allowed : Reserves::denied;
  if (t_reserves == wanted || !impersonation_enabled()) return;
  constexpr std::uint64_t kReserves = 1ULL << CAP_SYS_RESOURCE;
  Capabilities caps;
  if (!caps.read()) return;
  if (allowed) {
    caps.raise(kReserves);
  } else {
    caps.lower(kReserves);
  }
  if (caps.write()) t_reserves = wanted;
}

bool thread_has_reserves() noexcept { return t_reserves != Reserves::denied; }

ActingAs::ActingAs(uid_t uid, gid_t gid, std::span<const std::uint32_t> groups,
                   std::uint64_t extra_capabilities) noexcept {
  if (!impersonation_enabled()) return;
  static_assert(sizeof(gid_t) == sizeof(std::uint32_t));
  if (!groups.empty()) {
    // The raw call changes this thread only; the C library's would change every thread.
    groups_ = ::syscall(SYS_setgroups, groups.size(), groups.data()) == 0;
  }
  set_thread_reserves(uid == 0);
  if (uid != 0 || gid != 0) {
    ids_ = true;
    // Both give the former id, and tell of a failure in no other way than by what is set
    // afterwards.
    own_gid_ = static_cast<gid_t>(::setfsgid(gid));
    own_uid_ = static_cast<uid_t>(::setfsuid(uid));
    ok_ = static_cast<gid_t>(::setfsgid(static_cast<gid_t>(-1))) == gid &&
          static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))) == uid;
  }
  if (uid != 0 && extra_capabilities != 0) {
    Capabilities caps;
    if (caps.read()) {
      caps.raise(extra_capabilities);
      capabilities_ = caps.write();
    }
  }
}

ActingAs::~ActingAs() {
  if (capabilities_) {
    Capabilities caps;
    if (caps.read()) {
      caps.lower(kFileCapabilities);
      (void)caps.write();
    }
  }
  if (ids_) {
    (void)::setfsuid(own_uid_);
    (void)::setfsgid(own_gid_);
  }
  if (groups_) (void)::syscall(SYS_setgroups, 0, nullptr);
}

WithoutFsetid::WithoutFsetid(bool active) noexcept : active_(false) {
  if (!active || !impersonation_enabled()) return;
  Capabilities caps;
  if (!caps.read() || !caps.has(CAP_FSETID)) return;
  caps.lower(kCapFsetid);
  active_ = caps.write();
}

WithoutFsetid::~WithoutFsetid() {
  if (!active_) return;
  Capabilities caps;
  if (caps.read()) {
    caps.raise(kCapFsetid);
    (void)caps.write();
  }
}

}  // namespace passthroughfs
