// SPDX-License-Identifier: Apache-2.0
//
// Attributes: looking at them and changing them.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "exec.h"

namespace passthroughfs::difftest {
namespace {

constexpr long kFchmodat2 = 452;  // not in older headers

std::string describe_fs(const struct statvfs& st) {
  return " bsize=" + std::to_string(st.f_bsize) + " frsize=" + std::to_string(st.f_frsize) +
         " namemax=" + std::to_string(st.f_namemax) +
         " blocks_total=" + std::to_string(st.f_blocks) +
         " files_total=" + std::to_string(st.f_files) +
         " ro=" + std::to_string(st.f_flag & ST_RDONLY);
}

}  // namespace

Result exec_fstat(Agent& agent, const Op& op) {
  struct stat st {};
  Result result = outcome(fstat(agent.fd(op.fd), &st));
  if (result.value < 0) return result;
  if (agent.fault == Fault::kPathStat && st.st_nlink == 0) return {.value = -1, .error = ENOENT};
  result.detail = describe(agent, st);
  Slot& slot = agent.slots[static_cast<std::size_t>(op.fd) % kSlots];
  if (slot.seen && slot.epoch == agent.board->epoch) {
    result.detail += same_time(slot.mtime, st.st_mtim) ? " t_since=-" : " t_since=m";
    result.detail += same_time(slot.ctime, st.st_ctim) ? "-" : "c";
  }
  slot.seen =
      settled(agent, st) && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode) && !gathered(agent, st);
  slot.epoch = agent.board->epoch;
  slot.mtime = st.st_mtim;
  slot.ctime = st.st_ctim;
  return result;
}

Result exec_stat(Agent& agent, const Op& op) {
  struct stat st {};
  Result result = outcome(fstatat(agent.at(op.dir), op.path.c_str(), &st, static_cast<int>(op.a)));
  if (result.value == 0) result.detail = describe(agent, st);
  return result;
}

Result exec_statx(Agent& agent, const Op& op) {
  struct statx sx {};
  Result result = outcome(statx(agent.at(op.dir), op.path.c_str(), static_cast<int>(op.a),
                                STATX_BASIC_STATS | STATX_BTIME, &sx));
  if (result.value != 0) return result;
  struct stat st {};
  st.st_dev = makedev(sx.stx_dev_major, sx.stx_dev_minor);
  st.st_ino = sx.stx_ino;
  st.st_mode = sx.stx_mode;
  st.st_nlink = sx.stx_nlink;
  st.st_uid = sx.stx_uid;
  st.st_gid = sx.stx_gid;
  st.st_rdev = makedev(sx.stx_rdev_major, sx.stx_rdev_minor);
  st.st_size = static_cast<off_t>(sx.stx_size);
  st.st_blksize = sx.stx_blksize;
  st.st_blocks = static_cast<blkcnt_t>(sx.stx_blocks);
  st.st_mtim = {sx.stx_mtime.tv_sec, sx.stx_mtime.tv_nsec};
  st.st_atim = {sx.stx_atime.tv_sec, sx.stx_atime.tv_nsec};
  result.detail = describe(agent, st);
  result.detail += (sx.stx_mask & STATX_BTIME) != 0 ? " btime=yes" : " btime=no";
  return result;
}

Result exec_chmod(Agent& agent, const Op& op) {
  const auto mode = static_cast<mode_t>(op.a);
  if (op.kind == Kind::kFchmod) {
    if (agent.fault == Fault::kLostChmod && agent.fd(op.fd) >= 0) return {};
    return outcome(fchmod(agent.fd(op.fd), mode));
  }
  if (op.b == 0) return outcome(fchmodat(agent.at(op.dir), op.path.c_str(), mode, 0));
  // The C library would go through /proc, which the agents do not see.
  return outcome(syscall(kFchmodat2, agent.at(op.dir), op.path.c_str(), mode, op.b));
}

Result exec_chown(Agent& agent, const Op& op) {
  const auto uid = static_cast<uid_t>(op.a);
  const auto gid = static_cast<gid_t>(op.b);
  if (op.kind == Kind::kFchown) return outcome(fchown(agent.fd(op.fd), uid, gid));
  return outcome(fchownat(agent.at(op.dir), op.path.c_str(), uid, gid, static_cast<int>(op.c)));
}

Result exec_utimens(Agent& agent, const Op& op) {
  const timespec times[2] = {time_of_code(op.a), time_of_code(op.b)};
  if (op.kind == Kind::kFutimens) return outcome(futimens(agent.fd(op.fd), times));
  return outcome(utimensat(agent.at(op.dir), op.path.c_str(), times, static_cast<int>(op.c)));
}

Result exec_access(Agent& agent, const Op& op) {
  return outcome(syscall(SYS_faccessat2, agent.at(op.dir), op.path.c_str(), op.a, op.b));
}

Result exec_statfs(Agent& agent, const Op& op) {
  struct statvfs st {};
  Result result = outcome(op.kind == Kind::kStatfs ? statvfs(op.path.c_str(), &st)
                                                   : fstatvfs(agent.fd(op.fd), &st));
  if (result.value == 0) result.detail = describe_fs(st);
  return result;
}

Result exec_same_file(Agent& agent, const Op& op) {
  struct stat open_file {
  }, named{};
  if (fstat(agent.fd(op.fd), &open_file) != 0) return outcome(-1);
  if (fstatat(agent.at(op.dir), op.path.c_str(), &named, 0) != 0) return outcome(-1);
  const bool same = open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
  return {.value = same ? 1 : 0};
}

Result exec_getflags(Agent& agent, const Op& op) {
  int flags = 0;
  Result result = outcome(ioctl(agent.fd(op.fd), FS_IOC_GETFLAGS, &flags));
  if (result.value == 0) {
    result.detail = " flags=" + show_value(flags, Show::kInodeFlags);
    int generation = 0;
    const Result version = outcome(ioctl(agent.fd(op.fd), FS_IOC_GETVERSION, &generation));
    result.detail += " getversion=" + std::to_string(version.error);
    fsxattr extended{};
    const Result fsx = outcome(ioctl(agent.fd(op.fd), FS_IOC_FSGETXATTR, &extended));
    result.detail += " fsgetxattr=" + std::to_string(fsx.error) + ":" +
                     std::to_string(extended.fsx_xflags) + ":" +
                     std::to_string(extended.fsx_projid);
  }
  return result;
}

Result exec_setflags(Agent& agent, const Op& op) {
  // Without handles the daemon opens a file for each write, and then the flags have a say.
  if (agent.profile == Profile::kStateless) return {.value = kNotMade};
  int flags = 0;
  Result result = outcome(ioctl(agent.fd(op.fd), FS_IOC_GETFLAGS, &flags));
  if (result.value < 0) return result;
  constexpr int kSettable =
      FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL | FS_DIRSYNC_FL;
  flags = (flags & ~kSettable) | static_cast<int>(op.a);
  result = outcome(ioctl(agent.fd(op.fd), FS_IOC_SETFLAGS, &flags));
  if (result.value == 0 && (op.a & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0) {
    agent.board->locked = true;
  }
  return result;
}

}  // namespace passthroughfs::difftest
