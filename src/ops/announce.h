// SPDX-License-Identifier: Apache-2.0
//
// How operations tell the record of changes what they are about to do. The effect column of the op
// table says which of these an operation owes; one that succeeds without is found out there.
#pragma once

#include "changes/tracker.h"
#include "ops/context.h"
#include "ops/effect.h"

namespace passthroughfs {

// Before a change of names. See NamesChange for the rest.
class AnnouncedNames : public NamesChange {
 public:
  explicit AnnouncedNames(OpContext& context) noexcept : NamesChange(context.state.changes) {
    context.told |= bit_of(Effect::names);
  }
};

// Before a change of an inode's content or attributes, for the scope of the calls that make it.
// `fd`: of the inode. `marks`: mark::k* of changes/record.h.
class AnnouncedInode {
 public:
  AnnouncedInode(OpContext& context, const InodeRef& inode, BorrowedFd fd,
                 std::uint8_t marks) noexcept
      : change_(context.state.changes, inode, fd, marks) {
    context.told |= bit_of(Effect::content);
    context.told |= bit_of(Effect::attributes);
  }

 private:
  InodeChange change_;
};

}  // namespace passthroughfs
