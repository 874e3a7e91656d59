// SPDX-License-Identifier: Apache-2.0
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <array>
#include <cstring>
#include <optional>

#include "ops/announce.h"
#include "ops/handlers.h"
#include "ops/open_file.h"

namespace passthroughfs::ops {
namespace {

// What an ioctl really moves. The number of FS_IOC_GETFLAGS says "long", its data are an int.
struct KnownIoctl {
  std::uint32_t cmd;
  std::size_t in;
  std::size_t out;
};

constexpr std::array kKnown{
    KnownIoctl{FS_IOC_GETFLAGS, 0, sizeof(int)},
    KnownIoctl{FS_IOC_SETFLAGS, sizeof(int), 0},
    KnownIoctl{FS_IOC32_GETFLAGS, 0, sizeof(int)},
    KnownIoctl{FS_IOC32_SETFLAGS, sizeof(int), 0},
    KnownIoctl{FS_IOC_GETVERSION, 0, sizeof(int)},
    KnownIoctl{FS_IOC32_GETVERSION, 0, sizeof(int)},
    KnownIoctl{FS_IOC_FSGETXATTR, 0, sizeof(struct fsxattr)},
    KnownIoctl{FS_IOC_FSSETXATTR, sizeof(struct fsxattr), 0},
};

// The 32-bit numbers differ in the size that they claim; the source is asked by the native one.
std::uint32_t native_command(std::uint32_t cmd) {
  switch (cmd) {
    case FS_IOC32_GETFLAGS: return FS_IOC_GETFLAGS;
    case FS_IOC32_SETFLAGS: return FS_IOC_SETFLAGS;
    case FS_IOC32_GETVERSION: return FS_IOC_GETVERSION;
    default: return cmd;
  }
}

}  // namespace

Result<ByteSpan> ioctl(OpContext& context, const wire::IoctlRequest& request) {
  const KnownIoctl* known = nullptr;
  for (const KnownIoctl& candidate : kKnown) {
    if (candidate.cmd == request.cmd) known = &candidate;
  }
  if (known == nullptr || (request.flags & wire::kIoctlUnrestricted) != 0) return Err(ENOTTY);
  if (request.in.size() < known->in || request.out_size < known->out) return Err(EINVAL);
  const OpenFile file = TRY(OpenFile::of(context, request.fh, O_RDONLY));

  alignas(8) std::array<std::byte, sizeof(struct fsxattr)> data{};
  if (known->in > 0) std::memcpy(data.data(), request.in.data(), known->in);
  const auto call = [&] {
    return check(::ioctl(file.fd().get(), native_command(request.cmd), data.data()));
  };
  const InodeRef inode = TRY(context.state.inodes->pin(context.node_id()));
  std::optional<AnnouncedInode> change;
  if (known->in > 0) {
    change.emplace(context, inode, file.fd(), mark::kFlags);
  } else {
    context.told |= bit_of(Effect::attributes);  // that it changes nothing
  }
  // As the caller: whether the immutable flag may be set is decided by CAP_LINUX_IMMUTABLE.
  const int result = TRY(as_caller(context.caller, call));
  // Setting flags moves ctime, which the kernel does not expect of an ioctl.
  if (known->in > 0 && context.state.invalidations != nullptr) {
    context.state.invalidations->drop_attributes(context.node_id());
  }

  wire::IoctlOut out{};
  out.result = result;
  std::memcpy(context.buffer.data(), &out, sizeof out);
  std::memcpy(context.buffer.data() + sizeof out, data.data(), known->out);
  return ByteSpan(context.buffer.first(sizeof out + known->out));
}

}  // namespace passthroughfs::ops
