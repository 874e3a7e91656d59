// SPDX-License-Identifier: Apache-2.0
#include "wire/opcode.h"

namespace passthroughfs::wire {

// A switch, not a table: the compiler then says when an opcode has no name.
std::string_view opcode_name(Opcode opcode) noexcept {
  switch (opcode) {
    case Opcode::lookup: return "LOOKUP";
    case Opcode::forget: return "FORGET";
    case Opcode::getattr: return "GETATTR";
    case Opcode::setattr: return "SETATTR";
    case Opcode::readlink: return "READLINK";
    case Opcode::symlink: return "SYMLINK";
    case Opcode::mknod: return "MKNOD";
    case Opcode::mkdir: return "MKDIR";
    case Opcode::unlink: return "UNLINK";
    case Opcode::rmdir: return "RMDIR";
    case Opcode::rename: return "RENAME";
    case Opcode::link: return "LINK";
    case Opcode::open: return "OPEN";
    case Opcode::read: return "READ";
    case Opcode::write: return "WRITE";
    case Opcode::statfs: return "STATFS";
    case Opcode::release: return "RELEASE";
    case Opcode::fsync: return "FSYNC";
    case Opcode::setxattr: return "SETXATTR";
    case Opcode::getxattr: return "GETXATTR";
    case Opcode::listxattr: return "LISTXATTR";
    case Opcode::removexattr: return "REMOVEXATTR";
    case Opcode::flush: return "FLUSH";
    case Opcode::init: return "INIT";
    case Opcode::opendir: return "OPENDIR";
    case Opcode::readdir: return "READDIR";
    case Opcode::releasedir: return "RELEASEDIR";
    case Opcode::fsyncdir: return "FSYNCDIR";
    case Opcode::getlk: return "GETLK";
    case Opcode::setlk: return "SETLK";
    case Opcode::setlkw: return "SETLKW";
    case Opcode::access: return "ACCESS";
    case Opcode::create: return "CREATE";
    case Opcode::interrupt: return "INTERRUPT";
    case Opcode::bmap: return "BMAP";
    case Opcode::destroy: return "DESTROY";
    case Opcode::ioctl: return "IOCTL";
    case Opcode::poll: return "POLL";
    case Opcode::notify_reply: return "NOTIFY_REPLY";
    case Opcode::batch_forget: return "BATCH_FORGET";
    case Opcode::fallocate: return "FALLOCATE";
    case Opcode::readdirplus: return "READDIRPLUS";
    case Opcode::rename2: return "RENAME2";
    case Opcode::lseek: return "LSEEK";
    case Opcode::copy_file_range: return "COPY_FILE_RANGE";
    case Opcode::setupmapping: return "SETUPMAPPING";
    case Opcode::removemapping: return "REMOVEMAPPING";
    case Opcode::syncfs: return "SYNCFS";
    case Opcode::tmpfile: return "TMPFILE";
    case Opcode::statx: return "STATX";
    case Opcode::copy_file_range_64: return "COPY_FILE_RANGE_64";
  }
  return "UNKNOWN";
}

}  // namespace passthroughfs::wire
