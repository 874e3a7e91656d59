// SPDX-License-Identifier: Apache-2.0
#include "source/credentials.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace passthroughfs {
namespace {

thread_local bool t_impersonate = false;
thread_local mode_t t_umask = static_cast<mode_t>(-1);
enum class Reserves : unsigned char { unknown, denied, allowed };
thread_local Reserves t_reserves = Reserves::unknown;
// Whether this thread has CAP_FSETID when it acts for nobody.
enum class Fsetid : unsigned char { unknown, absent, held };
thread_local Fsetid t_fsetid = Fsetid::unknown;

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
  auto last = static_cast<std::uint32_t>(-1);
  for_each_number(line, [&](std::uint32_t number) { last = number; });
  return last;
}

}  // namespace

const char* impersonation_obstacle() noexcept {
  Capabilities caps;
  if (::geteuid() != 0) return "it is not root";
  if (!caps.read() || !caps.has(CAP_SETUID)) return "it lacks CAP_SETUID";
  if (!caps.has(CAP_SETGID)) return "it lacks CAP_SETGID";
  if (const int bits = ::prctl(PR_GET_SECUREBITS);
      bits >= 0 && (bits & SECBIT_NO_SETUID_FIXUP) != 0) {
    return "it would keep its capabilities as another user (SECBIT_NO_SETUID_FIXUP)";
  }
  // Sets what is set, to see whether it may. The raw calls are about this thread only.
  const long count = ::syscall(SYS_getgroups, 0, nullptr);
  const auto size = static_cast<std::size_t>(std::max(count, 0L));
  const std::unique_ptr<gid_t[]> groups(new (std::nothrow) gid_t[size + 1]);
  if (!groups) return "there is no memory for its groups";
  if (::syscall(SYS_getgroups, size, groups.get()) != count ||
      ::syscall(SYS_setgroups, size, groups.get()) != 0) {
    return "it may not set supplementary groups";
  }
  return nullptr;
}

bool has_rights_over_files() noexcept {
  Capabilities caps;
  if (::geteuid() == 0 || !caps.read()) return true;
  return ((caps.data[0].effective & kFileCapabilities) |
          (caps.data[1].effective & (kFileCapabilities >> 32))) != 0;
}

Result<void> enable_impersonation() noexcept {
  if (impersonation_obstacle() != nullptr) return Err(EPERM);
  TRY(check_void(::syscall(SYS_setgroups, 0, nullptr)));
  t_impersonate = true;
  return ok();
}
bool impersonation_enabled() noexcept { return t_impersonate; }

Result<void> own_umask() noexcept {
  // Without a private fs_struct the mask would be the whole process's.
  TRY(check_void(::unshare(CLONE_FS)));
  (void)::umask(0);
  t_umask = 0;
  return ok();
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

WithoutFsetid::WithoutFsetid(bool active) noexcept {
  if (!active || t_fsetid == Fsetid::absent) return;
  Capabilities caps;
  if (!caps.read()) return;
  if (t_fsetid == Fsetid::unknown) {
    t_fsetid = (caps.data[0].permitted & kCapFsetid) != 0 ? Fsetid::held : Fsetid::absent;
  }
  if (!caps.has(CAP_FSETID)) return;
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
