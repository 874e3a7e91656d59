// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include "ops/context.h"
#include "ops/replies.h"

namespace passthroughfs {

// The source's attributes as the kernel wants them, with the inode number that the mount shows.
[[nodiscard]] wire::Attr to_attr(MountState& state, const struct statx& st) noexcept;

// Attributes of an inode with the validity that they have now. `fd`: its handle's or O_PATH one.
[[nodiscard]] Result<wire::AttrOut> attributes_of(MountState& state, const InodeRef& inode,
                                                  BorrowedFd fd) noexcept;

[[nodiscard]] wire::EntryOut to_entry(MountState& state, const InodeRef& inode,
                                      const struct statx& st) noexcept;

// Device numbers as the protocol carries them (the kernel's new_encode_dev).
[[nodiscard]] std::uint32_t encode_device(std::uint32_t major, std::uint32_t minor) noexcept;
[[nodiscard]] dev_t decode_device(std::uint32_t encoded) noexcept;

// Finds `name` below `parent`, counts one lookup, gives the entry. The one way by which names
// become nodes. ENOENT, ELOOP for the mount itself seen inside its own source, and what the source
// says.
[[nodiscard]] Result<wire::EntryOut> look_up(MountState& state, const InodeRef& parent,
                                             const char* name, InodeRef* kept = nullptr) noexcept;

// The same for an O_PATH descriptor that is at hand. `kept`: receives the pinned inode if given.
[[nodiscard]] Result<wire::EntryOut> look_up(MountState& state, UniqueFd fd,
                                             InodeRef* kept = nullptr) noexcept;

}  // namespace passthroughfs
