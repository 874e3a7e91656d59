// SPDX-License-Identifier: Apache-2.0
//
// The operands of each call.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "generator.h"

namespace passthroughfs::difftest {

bool Generator::fill(Op& op) {
  return fill_descriptor(op) || fill_data(op) || fill_attributes(op) || fill_names(op) ||
         fill_directories(op) || fill_xattr(op) || fill_map(op) || fill_lock(op) ||
         op.kind == Kind::kSnapshot;
}

void Generator::fill_open(Op& op) {
  op.fd = free_slot(op);
  op.b = mode();
  const std::uint64_t sort = random_.below(100);
  std::string target;
  if (sort < 12) {
    target = world_.directory(random_);
    op.a = random_.percent(85) ? O_RDONLY | O_DIRECTORY : random_.pick({O_RDONLY, O_RDWR, O_PATH});
  } else if (sort < 16) {
    target = world_.directory(random_);
    op.a = O_TMPFILE | random_.pick({O_RDWR, O_RDWR, O_WRONLY, O_RDONLY});
    if (random_.percent(15)) op.a |= O_EXCL;
  } else if (sort < 20) {
    target = some_path();
    op.a = O_PATH | random_.pick({0, O_NOFOLLOW, O_DIRECTORY});
  } else {
    target = sort < 70 ? some_file() : sort < 92 ? new_path() : some_path();
    op.a = random_.pick({O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_RDONLY, O_WRONLY});
    if (random_.percent(45)) op.a |= O_CREAT;
    if (random_.percent(8)) op.a |= O_EXCL;
    if (random_.percent(10)) op.a |= O_TRUNC;
    if (random_.percent(20)) op.a |= O_APPEND;
    if (random_.percent(4)) op.a |= O_NOFOLLOW;
    if (random_.percent(1)) op.a |= O_DIRECTORY;
  }
  if ((op.a & O_PATH) == 0 && !random_.percent(85)) {
    op.a |= random_.pick({O_SYNC, O_DSYNC, O_DIRECT, O_DIRECT, O_NOATIME});
  }
  const Place where = place(op, target);
  op.dir = where.dir;
  op.path = where.path;
}

bool Generator::fill_descriptor(Op& op) {
  switch (op.kind) {
    case Kind::kOpen: fill_open(op); return true;
    case Kind::kClose: op.fd = open_any(op); return true;
    case Kind::kDup:
      op.fd = open_any(op);
      op.fd2 = free_slot(op);
      return true;
    case Kind::kSendFd:
      op.fd = open_any(op);
      op.a = static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(config_.agents)));
      return true;
    case Kind::kRecvFd: op.fd = free_slot(op); return true;
    case Kind::kGetFl: op.fd = open_any(op); return true;
    case Kind::kSetFl:
      op.fd = open_any(op);
      op.a = random_.pick({0, 0, O_APPEND, O_APPEND, O_DIRECT, O_APPEND | O_DIRECT, O_NOATIME});
      return true;
    default: return false;
  }
}

bool Generator::fill_data(Op& op) {
  const bool writes = op.kind == Kind::kWrite || op.kind == Kind::kPwrite ||
                      op.kind == Kind::kWritev || op.kind == Kind::kPwritev2 ||
                      op.kind == Kind::kFtruncate || op.kind == Kind::kFallocate;
  switch (op.kind) {
    case Kind::kWrite:
    case Kind::kPwrite:
    case Kind::kWritev:
    case Kind::kPwritev2: op.b = static_cast<std::int64_t>(random_.below(9)); [[fallthrough]];
    case Kind::kRead:
    case Kind::kPread:
    case Kind::kReadv:
      op.fd = open_file(op, writes);
      op.a = length();
      op.c = offset();
      if (op.kind == Kind::kPwritev2) {
        op.d = random_.pick({0, RWF_APPEND, RWF_DSYNC, RWF_SYNC, RWF_APPEND | RWF_SYNC});
        if (random_.percent(20)) op.c = -1;
      }
      return true;
    case Kind::kLseek:
      op.fd = open_any(op);
      op.b = random_.pick({SEEK_SET, SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE});
      op.a = random_.percent(20) ? -length() : offset();
      return true;
    case Kind::kFtruncate:
    case Kind::kTruncate:
      op.a = offset();
      if (op.kind == Kind::kFtruncate)
        op.fd = open_file(op, true);
      else
        op.path = from_path(op, random_.percent(90) ? some_file() : some_path());
      return true;
    case Kind::kFallocate:
      op.fd = open_file(op, true);
      op.b = random_.pick({0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                           FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE});
      op.a = length();
      op.c = random_.one_in(50) ? -1 : length();
      return true;
    case Kind::kCopyRange:
    case Kind::kSendfile:
      op.fd = open_file(op, false);
      op.fd2 = random_.percent(80) ? open_file(op, true) : op.fd;
      op.a = length();
      op.b = random_.percent(40) ? -1 : offset();
      op.c = random_.percent(40) ? -1 : offset();
      return true;
    case Kind::kFsync:
    case Kind::kFdatasync: op.fd = open_any(op); return true;
    case Kind::kFadvise:
      op.fd = open_file(op, false);
      op.a = length();
      op.b = random_.pick({POSIX_FADV_NORMAL, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL,
                           POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED});
      op.c = length();
      return true;
    default: return false;
  }
}

bool Generator::fill_attributes(Op& op) {
  const std::int64_t follow = random_.pick({0, 0, AT_SYMLINK_NOFOLLOW});
  const auto aim = [&](const std::string& absolute) {
    const Place where = place(op, absolute);
    op.dir = where.dir;
    op.path = where.path;
  };
  const auto aim_or_empty = [&](std::int64_t& flags) {
    aim(some_path());
    flags = follow;
    if (random_.percent(5)) {
      op.dir = open_any(op);
      op.path.clear();
      flags |= AT_EMPTY_PATH;
    }
  };
  switch (op.kind) {
    case Kind::kFstat:
    case Kind::kFstatfs:
    case Kind::kGetFlags: op.fd = open_any(op); return true;
    case Kind::kStat:
    case Kind::kStatx: aim_or_empty(op.a); return true;
    case Kind::kFchmod:
      op.fd = open_any(op);
      op.a = mode();
      return true;
    case Kind::kChmod:
      aim(some_path());
      op.a = mode();
      op.b = random_.percent(10) ? AT_SYMLINK_NOFOLLOW : 0;
      return true;
    case Kind::kFchown:
      op.fd = open_any(op);
      do {
        op.a = uid();
        op.b = gid();
      } while (op.a == -1 && op.b == -1);  // see exceptions()
      return true;
    case Kind::kChown:
      aim_or_empty(op.c);
      do {
        op.a = uid();
        op.b = gid();
      } while (op.a == -1 && op.b == -1);  // see exceptions()
      return true;
    case Kind::kFutimens:
    case Kind::kUtimens:
      op.a = static_cast<std::int64_t>(random_.below(9));
      op.b = static_cast<std::int64_t>(random_.below(9));
      if (random_.percent(25)) op.a = op.b = 0;
      if (op.kind == Kind::kFutimens)
        op.fd = open_any(op);
      else
        aim_or_empty(op.c);
      return true;
    case Kind::kAccess:
      aim(some_path());
      op.a = static_cast<std::int64_t>(random_.below(8));
      op.b = random_.pick({0, 0, AT_EACCESS, AT_SYMLINK_NOFOLLOW});
      return true;
    case Kind::kStatfs: op.path = from_path(op, some_path()); return true;
    case Kind::kSameFile:
      op.fd = open_any(op);
      aim(random_.percent(60) ? world_.agent(op.agent).slots[static_cast<std::size_t>(op.fd)].path
                              : some_path());
      return true;
    case Kind::kSetFlags:
      op.fd = open_any(op);
      op.a = random_.percent(60) ? 0 : random_.pick({FS_NODUMP_FL, FS_NODUMP_FL, FS_NOATIME_FL});
      // With such files around, less can be compared (see exceptions()).
      if (config_.seed % 4 == 0 && random_.percent(20)) {
        op.a = random_.pick({FS_APPEND_FL, FS_IMMUTABLE_FL});
      }
      return true;
    default: return false;
  }
}

bool Generator::fill_names(Op& op) {
  const auto aim = [&](const std::string& absolute) {
    const Place where = place(op, absolute);
    op.dir = where.dir;
    op.path = where.path;
  };
  const auto aim2 = [&](const std::string& absolute) {
    const Place where = place(op, absolute);
    op.dir2 = where.dir;
    op.path2 = where.path;
  };
  switch (op.kind) {
    case Kind::kMkdir:
      aim(new_path(true));
      op.a = random_.percent(70) ? random_.pick({0777, 0777, 02777, 01777, 0755}) : mode();
      return true;
    case Kind::kRmdir:
      aim(random_.percent(85) ? world_.inner_directory(random_) : some_path());
      return true;
    case Kind::kUnlink: aim(some_path()); return true;
    case Kind::kLink:
      aim(random_.percent(80) ? some_file() : some_path());
      aim2(new_path());
      op.a = random_.percent(15) ? AT_SYMLINK_FOLLOW : 0;
      return true;
    case Kind::kLinkFd:
      op.fd = open_file(op, true);
      aim(new_path());
      return true;
    case Kind::kSymlink: {
      const std::string target = some_path();
      // Unconfined agents must not be led out of the tree.
      const std::size_t leaf = target.rfind('/') + 1;
      op.name = config_.confined && random_.percent(50) ? target : target.substr(leaf);
      if (op.name.empty()) op.name.assign(1, 'a');
      if (random_.one_in(40)) op.name = std::string(config_.confined ? 4095 : 300, 's');
      aim(new_path());
      return true;
    }
    case Kind::kReadlink: {
      const std::string link = world_.link(random_);
      aim(link.empty() || random_.percent(15) ? some_path() : link);
      op.a = random_.pick({0, 1, 3, 100, 4096});
      return true;
    }
    case Kind::kRename:
      aim(random_.percent(25) ? world_.inner_directory(random_) : some_path());
      aim2(random_.percent(60) ? new_path() : some_path());
      if (random_.percent(25)) op.a = random_.pick({1, 1, 2, 2, 2, 4, 3, 5});
      return true;
    case Kind::kMknod:
      aim(new_path());
      op.a = mode() | random_.pick({S_IFIFO, S_IFIFO, S_IFSOCK, S_IFREG, S_IFCHR, 0, S_IFDIR});
      op.b = random_.pick({3, 7});  // null and full: devices that are safe to open and write to
      if ((op.a & S_IFMT) != S_IFCHR) op.b = 0;
      return true;
    case Kind::kUmask: op.a = random_.pick({0, 0, 0, 0, 022, 002, 027, 077}); return true;
    default: return false;
  }
}

bool Generator::fill_directories(Op& op) {
  switch (op.kind) {
    case Kind::kListdir: op.fd = open_directory(op); return true;
    case Kind::kGetdents:
      op.fd = open_directory(op);
      op.a = random_.pick({16, 24, 60, 100, 300, 1024, 32768});
      return true;
    case Kind::kSeekdir:
      op.fd = open_directory(op);
      op.a = static_cast<std::int64_t>(random_.below(12));
      return true;
    case Kind::kChdir:
      if (!config_.confined) return false;
      op.path = from_path(op, world_.directory(random_));
      return true;
    case Kind::kFchdir:
      if (!config_.confined) return false;
      op.fd = open_directory(op);
      return true;
    case Kind::kGetcwd: return config_.confined;
    default: return false;
  }
}

bool Generator::fill_xattr(Op& op) {
  const bool by_slot = op.kind == Kind::kFsetxattr || op.kind == Kind::kFgetxattr ||
                       op.kind == Kind::kFlistxattr || op.kind == Kind::kFremovexattr;
  switch (op.kind) {
    case Kind::kSetxattr:
    case Kind::kFsetxattr:
      op.a = random_.one_in(60) ? random_.pick({4096, 65536, 65537})
                                : random_.pick({0, 1, 16, 64, 65, 255, 1000, 3000});
      op.b = static_cast<std::int64_t>(random_.below(14));
      op.c = random_.pick({0, 0, 0, XATTR_CREATE, XATTR_REPLACE, XATTR_CREATE | XATTR_REPLACE});
      break;
    case Kind::kGetxattr:
    case Kind::kFgetxattr: op.a = random_.pick({0, 1, 16, 64, 4096, 65536}); break;
    case Kind::kListxattr:
    case Kind::kFlistxattr: op.a = random_.pick({0, 4, 64, 4096, 65536}); break;
    case Kind::kRemovexattr:
    case Kind::kFremovexattr: break;
    default: return false;
  }
  op.name = xattr_name();
  if (by_slot) {
    op.fd = open_any(op);
  } else {
    op.path = from_path(op, some_path());
    op.d = random_.percent(25) ? 1 : 0;
  }
  return true;
}

bool Generator::fill_map(Op& op) {
  AgentBelief& agent = world_.agent(op.agent);
  if (op.kind != Kind::kMmap && op.kind != Kind::kStore && op.kind != Kind::kLoad &&
      op.kind != Kind::kMsync && op.kind != Kind::kMunmap) {
    return false;
  }
  op.a = static_cast<std::int64_t>(random_.below(kMapSlots));
  for (std::size_t i = 0; i < kMapSlots; ++i) {
    const std::size_t slot = (static_cast<std::size_t>(op.a) + i) % kMapSlots;
    if (agent.maps[slot] != (op.kind == Kind::kMmap)) {
      op.a = static_cast<std::int64_t>(slot);
      break;
    }
  }
  switch (op.kind) {
    case Kind::kMmap:
      op.fd = open_file(op, true);
      op.b = random_.pick({1, 4096, 4097, 8192, 16384, 65536});
      op.c = random_.one_in(40) ? 1 : random_.pick({0, 0, 0, 4096, 8192});
      op.d = random_.pick(
          {(MAP_SHARED << 8) | PROT_READ | PROT_WRITE, (MAP_SHARED << 8) | PROT_READ | PROT_WRITE,
           (MAP_SHARED << 8) | PROT_READ, (MAP_PRIVATE << 8) | PROT_READ | PROT_WRITE});
      return true;
    case Kind::kStore: op.d = static_cast<std::int64_t>(random_.below(9)); [[fallthrough]];
    case Kind::kLoad:
      op.b = random_.pick({1, 10, 100, 4096, 5000, 16384});
      op.c = random_.pick({0, 0, 1, 100, 4090, 4096, 8191});
      return true;
    case Kind::kMsync:
      op.b = random_.pick({MS_SYNC, MS_SYNC, MS_ASYNC, MS_INVALIDATE});
      return true;
    default: return true;
  }
}

bool Generator::fill_lock(Op& op) {
  switch (op.kind) {
    case Kind::kSetLk:
    case Kind::kOfdSetLk:
    case Kind::kGetLk:
    case Kind::kOfdGetLk:
      op.fd = open_file(op, true);
      op.a = random_.pick({F_RDLCK, F_WRLCK, F_WRLCK, F_UNLCK});
      op.b = random_.pick({0, 0, 1, 10, 100, 4096, -1});
      op.c = random_.pick({0, 1, 10, 100, 100, -5});
      op.d = random_.percent(85) ? SEEK_SET : random_.pick({SEEK_CUR, SEEK_END});
      return true;
    case Kind::kFlock:
      op.fd = open_any(op);
      op.a = random_.pick({LOCK_SH, LOCK_EX, LOCK_EX, LOCK_UN, LOCK_UN});
      return true;
    default: return false;
  }
}

}  // namespace passthroughfs::difftest
