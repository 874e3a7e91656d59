// SPDX-License-Identifier: Apache-2.0
#include "support/request_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace passthroughfs::test {

RequestBytes RequestBytes::with_groups(const std::vector<std::uint32_t>& gids) const {
  RequestBytes out = *this;
  const std::size_t size = align_up(
      sizeof(wire::ExtHeader) + sizeof(wire::SuppGroups) + gids.size() * sizeof(std::uint32_t), 8);
  Bytes extension =
      join(wire::ExtHeader{.size = static_cast<std::uint32_t>(size), .type = wire::kExtGroups},
           wire::SuppGroups{.nr_groups = static_cast<std::uint32_t>(gids.size())});
  for (const std::uint32_t group : gids) append_part(extension, group);
  extension.resize(size);
  append_part(out.extensions, ByteSpan(extension));
  return out;
}

Bytes RequestBytes::encode(std::uint64_t unique) const {
  const wire::InHeader header{
      .len = static_cast<std::uint32_t>(sizeof(wire::InHeader) + body.size() + extensions.size()),
      .opcode = static_cast<std::uint32_t>(opcode),
      .unique = unique,
      .nodeid = nodeid,
      .uid = uid,
      .gid = gid,
      .pid = pid,
      .total_extlen = static_cast<std::uint16_t>(extensions.size() / 8),
      .padding = 0};
  return join(header, ByteSpan(body), ByteSpan(extensions));
}

namespace requests {

using wire::Opcode;

RequestBytes make(Opcode opcode, std::uint64_t nodeid, Bytes body) {
  RequestBytes out;
  out.opcode = opcode;
  out.nodeid = nodeid;
  out.body = std::move(body);
  return out;
}

RequestBytes init(std::uint64_t flags, std::uint32_t minor) {
  flags |= wire::init_flag::init_ext;
  return make(Opcode::init, 0,
              join(wire::InitIn{.major = wire::kMajor,
                                .minor = minor,
                                .max_readahead = 128U * 1024,
                                .flags = static_cast<std::uint32_t>(flags),
                                .flags2 = static_cast<std::uint32_t>(flags >> 32),
                                .unused = {}}));
}
RequestBytes destroy() { return make(Opcode::destroy, 0); }
RequestBytes interrupt(std::uint64_t unique) {
  return make(Opcode::interrupt, 0, join(wire::InterruptIn{.unique = unique}));
}
RequestBytes statfs(std::uint64_t node) { return make(Opcode::statfs, node); }
RequestBytes syncfs() {
  return make(Opcode::syncfs, wire::kRootNodeId, join(wire::SyncfsIn{.padding = 0}));
}

RequestBytes lookup(std::uint64_t parent, std::string_view name) {
  return make(Opcode::lookup, parent, join(name));
}
RequestBytes forget(std::uint64_t node, std::uint64_t nlookup) {
  return make(Opcode::forget, node, join(wire::ForgetIn{.nlookup = nlookup}));
}
RequestBytes batch_forget(const std::vector<wire::ForgetOne>& forgets) {
  Bytes body =
      join(wire::BatchForgetIn{.count = static_cast<std::uint32_t>(forgets.size()), .dummy = 0});
  for (const wire::ForgetOne& one : forgets) append_part(body, one);
  return make(Opcode::batch_forget, 0, std::move(body));
}
RequestBytes getattr(std::uint64_t node) {
  return make(Opcode::getattr, node,
              join(wire::GetattrIn{.getattr_flags = 0, .dummy = 0, .fh = 0}));
}
RequestBytes getattr(std::uint64_t node, std::uint64_t fh) {
  return make(Opcode::getattr, node,
              join(wire::GetattrIn{.getattr_flags = wire::kGetattrFh, .dummy = 0, .fh = fh}));
}
RequestBytes statx(std::uint64_t node, std::uint32_t mask) {
  return make(Opcode::statx, node,
              join(wire::StatxIn{
                  .getattr_flags = 0, .reserved = 0, .fh = 0, .sx_flags = 0, .sx_mask = mask}));
}
RequestBytes setattr(std::uint64_t node, const wire::SetattrIn& in) {
  return make(Opcode::setattr, node, join(in));
}
RequestBytes access(std::uint64_t node, std::uint32_t mask) {
  return make(Opcode::access, node, join(wire::AccessIn{.mask = mask, .padding = 0}));
}

RequestBytes readlink(std::uint64_t node) { return make(Opcode::readlink, node); }
RequestBytes symlink(std::uint64_t parent, std::string_view name, std::string_view target) {
  return make(Opcode::symlink, parent, join(name, target));
}
RequestBytes mknod(std::uint64_t parent, std::string_view name, std::uint32_t mode,
                   std::uint32_t rdev) {
  return make(Opcode::mknod, parent,
              join(wire::MknodIn{.mode = mode, .rdev = rdev, .umask = 022, .padding = 0}, name));
}
RequestBytes mkdir(std::uint64_t parent, std::string_view name, std::uint32_t mode) {
  return make(Opcode::mkdir, parent, join(wire::MkdirIn{.mode = mode, .umask = 022}, name));
}
RequestBytes unlink(std::uint64_t parent, std::string_view name) {
  return make(Opcode::unlink, parent, join(name));
}
RequestBytes rmdir(std::uint64_t parent, std::string_view name) {
  return make(Opcode::rmdir, parent, join(name));
}
RequestBytes rename(std::uint64_t parent, std::string_view name, std::uint64_t new_parent,
                    std::string_view new_name) {
  return make(Opcode::rename, parent, join(wire::RenameIn{.newdir = new_parent}, name, new_name));
}
RequestBytes rename2(std::uint64_t parent, std::string_view name, std::uint64_t new_parent,
                     std::string_view new_name, std::uint32_t flags) {
  return make(
      Opcode::rename2, parent,
      join(wire::Rename2In{.newdir = new_parent, .flags = flags, .padding = 0}, name, new_name));
}
RequestBytes link(std::uint64_t node, std::uint64_t new_parent, std::string_view new_name) {
  return make(Opcode::link, new_parent, join(wire::LinkIn{.oldnodeid = node}, new_name));
}

RequestBytes open(std::uint64_t node, std::uint32_t flags) {
  return make(Opcode::open, node, join(wire::OpenIn{.flags = flags, .open_flags = 0}));
}
namespace {
RequestBytes create_kind(Opcode opcode, std::uint64_t parent, std::string_view name,
                         std::uint32_t flags, std::uint32_t mode) {
  return make(
      opcode, parent,
      join(wire::CreateIn{.flags = flags, .mode = mode, .umask = 022, .open_flags = 0}, name));
}
}  // namespace
RequestBytes create(std::uint64_t parent, std::string_view name, std::uint32_t flags,
                    std::uint32_t mode) {
  return create_kind(Opcode::create, parent, name, flags, mode);
}
RequestBytes tmpfile(std::uint64_t parent, std::uint32_t flags, std::uint32_t mode) {
  return create_kind(Opcode::tmpfile, parent, "/", flags, mode);
}
RequestBytes read(std::uint64_t node, std::uint64_t fh, std::uint64_t offset, std::uint32_t size,
                  std::uint32_t flags) {
  return make(Opcode::read, node,
              join(wire::ReadIn{.fh = fh, .offset = offset, .size = size, .flags = flags}));
}
RequestBytes write(std::uint64_t node, std::uint64_t fh, std::uint64_t offset, ByteSpan data,
                   std::uint32_t flags) {
  return make(Opcode::write, node,
              join(wire::WriteIn{.fh = fh,
                                 .offset = offset,
                                 .size = static_cast<std::uint32_t>(data.size()),
                                 .flags = flags},
                   data));
}
RequestBytes flush(std::uint64_t node, std::uint64_t fh, std::uint64_t lock_owner) {
  return make(Opcode::flush, node, join(wire::FlushIn{.fh = fh, .lock_owner = lock_owner}));
}
RequestBytes release(std::uint64_t node, std::uint64_t fh, std::uint32_t flags) {
  return make(Opcode::release, node, join(wire::ReleaseIn{.fh = fh, .flags = flags}));
}
namespace {
RequestBytes fsync_kind(Opcode opcode, std::uint64_t node, std::uint64_t fh, bool datasync) {
  return make(opcode, node,
              join(wire::FsyncIn{.fh = fh, .fsync_flags = datasync ? wire::kFsyncFdatasync : 0U}));
}
}  // namespace
RequestBytes fsync(std::uint64_t node, std::uint64_t fh, bool datasync) {
  return fsync_kind(Opcode::fsync, node, fh, datasync);
}
RequestBytes fallocate(std::uint64_t node, std::uint64_t fh, std::uint64_t offset,
                       std::uint64_t length, std::uint32_t mode) {
  return make(Opcode::fallocate, node,
              join(wire::FallocateIn{.fh = fh, .offset = offset, .length = length, .mode = mode}));
}
RequestBytes lseek(std::uint64_t node, std::uint64_t fh, std::uint64_t offset,
                   std::uint32_t whence) {
  return make(Opcode::lseek, node,
              join(wire::LseekIn{.fh = fh, .offset = offset, .whence = whence}));
}
RequestBytes copy_file_range(Opcode opcode, std::uint64_t node, const wire::CopyFileRangeIn& in) {
  return make(opcode, node, join(in));
}
RequestBytes lock(Opcode opcode, std::uint64_t node, const wire::LkIn& in) {
  return make(opcode, node, join(in));
}
RequestBytes bmap(std::uint64_t node, std::uint64_t block, std::uint32_t blocksize) {
  return make(Opcode::bmap, node, join(wire::BmapIn{.block = block, .blocksize = blocksize}));
}
RequestBytes ioctl(std::uint64_t node, std::uint64_t fh, std::uint32_t command, ByteSpan in,
                   std::uint32_t out_size) {
  return make(Opcode::ioctl, node,
              join(wire::IoctlIn{.fh = fh,
                                 .cmd = command,
                                 .in_size = static_cast<std::uint32_t>(in.size()),
                                 .out_size = out_size},
                   in));
}
RequestBytes poll(std::uint64_t node, std::uint64_t fh, std::uint64_t kh, std::uint32_t events) {
  return make(Opcode::poll, node, join(wire::PollIn{.fh = fh, .kh = kh, .events = events}));
}

RequestBytes opendir(std::uint64_t node, std::uint32_t flags) {
  return make(Opcode::opendir, node, join(wire::OpenIn{.flags = flags, .open_flags = 0}));
}
RequestBytes readdir(Opcode opcode, std::uint64_t node, std::uint64_t fh, std::uint64_t offset,
                     std::uint32_t size) {
  return make(opcode, node, join(wire::ReadIn{.fh = fh, .offset = offset, .size = size}));
}
RequestBytes releasedir(std::uint64_t node, std::uint64_t fh) {
  return make(Opcode::releasedir, node, join(wire::ReleaseIn{.fh = fh}));
}
RequestBytes fsyncdir(std::uint64_t node, std::uint64_t fh, bool datasync) {
  return fsync_kind(Opcode::fsyncdir, node, fh, datasync);
}

RequestBytes setxattr(std::uint64_t node, std::string_view name, ByteSpan value,
                      std::uint32_t flags) {
  return make(Opcode::setxattr, node,
              join(wire::SetxattrIn{.size = static_cast<std::uint32_t>(value.size()),
                                    .flags = flags,
                                    .setxattr_flags = 0,
                                    .padding = 0},
                   name, value));
}
RequestBytes setxattr_compat(std::uint64_t node, std::string_view name, ByteSpan value,
                             std::uint32_t flags) {
  return make(Opcode::setxattr, node,
              join(static_cast<std::uint32_t>(value.size()), flags, name, value));
}
RequestBytes getxattr(std::uint64_t node, std::string_view name, std::uint32_t size) {
  return make(Opcode::getxattr, node, join(wire::GetxattrIn{.size = size, .padding = 0}, name));
}
RequestBytes listxattr(std::uint64_t node, std::uint32_t size) {
  return make(Opcode::listxattr, node, join(wire::GetxattrIn{.size = size, .padding = 0}));
}
RequestBytes removexattr(std::uint64_t node, std::string_view name) {
  return make(Opcode::removexattr, node, join(name));
}

}  // namespace requests

std::vector<Sample> sample_of_each_request() {
  using namespace requests;
  const wire::LkIn lk{.fh = 9, .owner = 7, .lk = {.start = 0, .end = 99, .type = 1, .pid = 5}};
  const wire::CopyFileRangeIn copy{.fh_in = 9, .nodeid_out = 3, .fh_out = 8, .len = 4096};
  const wire::SetattrIn set{
      .valid = wire::setattr_valid::size | wire::setattr_valid::fh, .fh = 9, .size = 1234};
  const ByteSpan data = passthroughfs::bytes_of(std::string_view("some data"));
  return {
      {"lookup", lookup(1, "name")},
      {"forget", forget(2, 3)},
      {"getattr", getattr(2, 9)},
      {"setattr", setattr(2, set)},
      {"readlink", readlink(2)},
      {"symlink", symlink(1, "name", "../target").with_groups({4})},
      {"mknod", mknod(1, "name", S_IFREG | 0644).with_groups({4, 5})},
      {"mkdir", mkdir(1, "name", 0755).with_groups({4})},
      {"unlink", unlink(1, "name")},
      {"rmdir", rmdir(1, "name")},
      {"rename", rename(1, "old", 2, "new")},
      {"link", link(3, 1, "name")},
      {"open", open(2, O_RDWR)},
      {"read", read(2, 9, 4096, 8192)},
      {"write", write(2, 9, 4096, data)},
      {"statfs", statfs()},
      {"release", release(2, 9)},
      {"fsync", fsync(2, 9)},
      {"setxattr", setxattr(2, "user.name", data)},
      {"getxattr", getxattr(2, "user.name", 64)},
      {"listxattr", listxattr(2, 0)},
      {"removexattr", removexattr(2, "user.name")},
      {"flush", flush(2, 9, 7)},
      {"init", init(wire::init_flag::async_read | wire::init_flag::passthrough)},
      {"opendir", opendir(1)},
      {"readdir", readdir(Opcode::readdir, 1, 9, 0, 4096)},
      {"releasedir", releasedir(1, 9)},
      {"fsyncdir", fsyncdir(1, 9, true)},
      {"getlk", lock(Opcode::getlk, 2, lk)},
      {"setlk", lock(Opcode::setlk, 2, lk)},
      {"setlkw", lock(Opcode::setlkw, 2, lk)},
      {"access", access(2, 4)},
      {"create", create(1, "name", O_RDWR | O_CREAT, S_IFREG | 0644).with_groups({4})},
      {"interrupt", interrupt(44)},
      {"bmap", bmap(2, 1, 512)},
      {"destroy", destroy()},
      {"ioctl", ioctl(2, 9, 0x80086601, data, 8)},
      {"poll", poll(2, 9, 6, 1)},
      {"batch_forget", batch_forget({{.nodeid = 2, .nlookup = 1}, {.nodeid = 3, .nlookup = 5}})},
      {"fallocate", fallocate(2, 9, 0, 4096, 1)},
      {"readdirplus", readdir(Opcode::readdirplus, 1, 9, 0, 4096)},
      {"rename2", rename2(1, "old", 2, "new", 2)},
      {"lseek", lseek(2, 9, 10, SEEK_HOLE)},
      {"copy_file_range", copy_file_range(Opcode::copy_file_range, 2, copy)},
      {"syncfs", syncfs()},
      {"tmpfile", tmpfile(1, O_RDWR, S_IFREG | 0600)},
      {"statx", statx(2, 0x800)},
      {"copy_file_range_64", copy_file_range(Opcode::copy_file_range_64, 2, copy)},
  };
}

}  // namespace passthroughfs::test
