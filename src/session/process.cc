// SPDX-License-Identifier: Apache-2.0
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/log.h"
#include "session/session.h"

namespace passthroughfs {
namespace {

struct Capabilities {
  std::array<__user_cap_data_struct, 2> data{};
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};

  bool read() { return ::syscall(SYS_capget, &header, data.data()) == 0; }
  bool write() { return ::syscall(SYS_capset, &header, data.data()) == 0; }
};

// What serving needs: rights over files, acting as the caller, the mount itself, and the capability
// that sets file capabilities. CAP_SYS_NICE leaves SCHED_IDLE, see scheduling.h. CAP_SYS_RESOURCE
// (blocks reserved for root, quotas) is used for root's requests only, see set_thread_reserves().
constexpr std::array kNeeded{
    CAP_CHOWN,        CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
    CAP_FSETID,       CAP_SETGID,       CAP_SETUID,          CAP_LINUX_IMMUTABLE,
    CAP_SYS_ADMIN,    CAP_MKNOD,        CAP_LEASE,           CAP_SETFCAP,
    CAP_MAC_OVERRIDE, CAP_SYS_NICE,     CAP_SYS_PTRACE,      CAP_SYS_RESOURCE};

void keep_needed_capabilities(Capabilities& caps) {
  std::array<std::uint32_t, 2> keep{};
  for (const int capability : kNeeded) {
    keep[static_cast<std::size_t>(capability) / 32] |= 1U << (capability % 32);
  }
  for (std::size_t i = 0; i < caps.data.size(); ++i) {
    caps.data[i].permitted &= keep[i];
    caps.data[i].effective &= keep[i];
    caps.data[i].inheritable = 0;
  }
  if (!caps.write()) log_warning("cannot drop capabilities: {}", Errno::last().to_string());
}

// The ABI that the numbers in this file belong to. A process may use others: on x86-64 the 32-bit
// entry, where execve is another number.
#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_RISCV64;
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_PPC64LE;
#elif defined(__s390x__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_S390X;
#else
#error "the seccomp filter needs this architecture's AUDIT_ARCH_ constant"
#endif
// No call of ours has a number from here on. x32 has x86-64's architecture, and this bit in its
// own.
constexpr std::uint32_t kFirstForeignCall = 0x40000000;

// No program is ever started from here on, so nothing that takes the daemon over can start one.
void forbid_exec() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return;
  std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 0, 4),
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kFirstForeignCall, 2, 0),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 1, 0),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
    log_info("no seccomp filter: {}", Errno::last().to_string());
  }
}

}  // namespace

void prepare_process() {
  (void)::umask(0);
  Capabilities caps;
  if (::geteuid() == 0 && caps.read()) {
    // No thread needs them; those that serve see to it themselves (enable_impersonation).
    (void)::setgroups(0, nullptr);
    keep_needed_capabilities(caps);
  }
  forbid_exec();
}

}  // namespace passthroughfs
