// SPDX-License-Identifier: Apache-2.0
#include "source/fs_kind.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace passthroughfs {
namespace {

// Numbers from linux/magic.h and the file systems' own headers.
constexpr std::uint32_t kTmpfs = 0x01021994U;
constexpr std::uint32_t kRamfs = 0x858458f6U;

constexpr std::array<std::uint32_t, 9> kRemote{
    0x6969U,      // NFS
    0x65735546U,  // FUSE
    0xff534d42U,  // CIFS
    0xfe534d42U,  // SMB2
    0x517bU,      // SMB
    0x01021997U,  // 9p
    0x00c36400U,  // Ceph
    0x5346414fU,  // AFS
    0x73757245U,  // Coda
};
constexpr std::array<std::uint32_t, 2> kStacked{
    0x794c7630U,  // overlayfs
    0xf15fU,      // ecryptfs
};
constexpr std::array<std::uint32_t, 3> kInMemory{
    kTmpfs, kRamfs,
    0x958458f6U,  // hugetlbfs
};
constexpr std::array<std::uint32_t, 6> kSilentClose{
    kTmpfs,      kRamfs,
    0xef53U,      // ext2, ext3, ext4
    0x58465342U,  // xfs
    0x9123683eU,  // btrfs
    0xf2f52010U,  // f2fs
};

template <std::size_t N>
bool has(const std::array<std::uint32_t, N>& kinds, std::uint32_t kind) noexcept {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

}  // namespace

FsKind fs_kind(const struct statfs& fs) noexcept {
  const auto kind = static_cast<std::uint32_t>(fs.f_type);
  return {.remote = has(kRemote, kind),
          .stacked = has(kStacked, kind),
          .in_memory = has(kInMemory, kind),
          .silent_close = has(kSilentClose, kind)};
}

}  // namespace passthroughfs
