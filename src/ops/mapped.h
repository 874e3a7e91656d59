// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/context.h"

namespace passthroughfs {

// Attributes of files that may be mapped for writing.
//
// A store through a shared mapping of a passthrough file changes the source's times without the
// kernel dropping what it believes of the FUSE inode; and the mapping outlives close and RELEASE.
// Only a description opened for reading and writing can be mapped that way. So from the first such
// open until nobody can store any more the attributes have no validity, and each stat asks.
//
// Whether a mapping still lives after the last RELEASE is asked of the source when somebody next
// wants the attributes: a read lease is refused as long as the file is open or mapped for writing.

// A passthrough open for reading and writing begins. The kernel is told to forget what it believes.
void begin_mappable(MountState& state, const InodeRef& inode) noexcept;
void end_mappable(const InodeRef& inode) noexcept;

// For how many seconds the kernel may believe this inode's attributes.
[[nodiscard]] std::uint64_t attribute_validity(MountState& state, const InodeRef& inode) noexcept;

}  // namespace passthroughfs
