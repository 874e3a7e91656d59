// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "changes/census.h"
#include "changes/places.h"
#include "changes/record.h"
#include "changes/store.h"

namespace passthroughfs {

// Brings what the log says into the journal's tables, record by record in the log's order. Used by
// one thread at a time, inside a transaction. May throw DatabaseError.
class Recorder final : public RecordVisitor {
 public:
  Recorder(ChangeStore& store, Places& places, InodeTable& inodes, Census& census) noexcept
      : store_(store), places_(places), inodes_(inodes), census_(census) {}

  void names(const NamesRecord& record) override;
  void inode(const InodeRecord& record) override;
  void born(const BornRecord& record) override;

  // The same for what a killed process was about to do: whether it did is asked of the source.
  // Node numbers of that process mean nothing any more.
  void from_dead_process(bool dead) noexcept { dead_ = dead; }
  // A record that was recorded before, in a transaction that failed: nodes were let go then.
  void once_more(bool again) noexcept { again_ = again; }
  void intent(ByteSpan bytes);

  // Whether what is known of each object is kept for a comparison later (see Census).
  void keep_known(bool keep) noexcept { keep_known_ = keep; }

 private:
  void let_go(std::uint64_t held, ObjectKey key);

  ChangeStore& store_;
  Places& places_;
  InodeTable& inodes_;
  Census& census_;
  bool dead_ = false;
  bool again_ = false;
  bool keep_known_ = false;
};

}  // namespace passthroughfs
