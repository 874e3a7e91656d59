// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "changes/places.h"
#include "changes/store.h"

namespace passthroughfs {

// An inode that was there before and is different now, under all its names.
struct AlteredObject {
  std::vector<Place> names;
  std::uint32_t mode = 0;
  bool data = false;
  bool attributes = false;
  bool xattr = false;
};

// The inodes of which the journal says that they may have been changed since an epoch began, and
// which have been. What settles it is, for each: the times and the size now and then, where times
// prove something; the content, where they do not; extended attributes by their digest. May throw
// DatabaseError.
[[nodiscard]] std::vector<AlteredObject> altered_since(ChangeStore& store, Places& places,
                                                       const SourceTree& source,
                                                       std::uint64_t since);

// Of an object's attributes, where it is now; 0: it is gone, or they cannot be read.
[[nodiscard]] Digest xattrs_of(Places& places, const SourceTree& source, ObjectId object);
// Of what is at a path below the source now; 0: cannot be read.
[[nodiscard]] Digest xattrs_at(const SourceTree& source, const std::string& path);

}  // namespace passthroughfs
