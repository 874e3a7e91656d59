// SPDX-License-Identifier: Apache-2.0
//
// What the serving threads tell the journal, as bytes in the change log.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

struct statx;

namespace passthroughfs {

// An inode of the source, while it exists. The numbers may be used again after its end, which the
// order of the records tells apart.
struct ObjectKey {
  std::uint64_t device = 0;
  std::uint64_t ino = 0;

  [[nodiscard]] bool exists() const noexcept { return ino != 0 || device != 0; }
  friend bool operator==(const ObjectKey&, const ObjectKey&) = default;
};

// An inode's attributes at a moment. Times in nanoseconds since the epoch of Unix.
struct Stamp {
  std::uint32_t mode = 0;  // 0: not known
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t racy = 0;  // 1: a change soon after this stamp may leave the times as they are
  std::uint64_t size = 0;
  std::int64_t mtime = 0;
  std::int64_t ctime = 0;

  [[nodiscard]] bool known() const noexcept { return mode != 0; }
  static Stamp of(const struct statx& st) noexcept;
};

// What a program may do, or have done, to an inode.
namespace mark {
inline constexpr std::uint8_t kData = 1;        // content or size
inline constexpr std::uint8_t kAttributes = 2;  // mode, owner
inline constexpr std::uint8_t kXattr = 4;
inline constexpr std::uint8_t kQuestion = 8;  // open for writing where writes are not seen
inline constexpr std::uint8_t kTimes = 16;    // set by a program: mtime proves nothing any more
inline constexpr std::uint8_t kFlags = 32;    // inode flags
inline constexpr std::uint8_t kCertain = 64;  // not to be weighed against the stamp
inline constexpr std::uint8_t kMapped = 128;  // stores need not show in the times
}  // namespace mark

// A hash of content or of all extended attributes; 0: not known. Never 0 of anything.
using Digest = std::uint64_t;

// A name below a directory, before and after an operation.
struct Binding {
  ObjectKey directory;
  std::string_view name;
  ObjectKey before;  // what had the name; none: nothing
  Stamp before_stamp;
  Digest before_xattrs = 0;
  ObjectKey after;
  std::uint32_t after_mode = 0;
  bool born = false;  // `after` did not exist before
  bool last = false;  // it was the last name of `before`, which ends with it
};

struct NamesRecord {
  std::uint64_t epoch = 0;
  std::array<Binding, 2> bindings;
  std::size_t count = 0;  // one, or two for a rename
};

struct InodeRecord {
  std::uint64_t epoch = 0;
  ObjectKey key;
  std::uint8_t marks = 0;  // 0: a directory below which names are about to change
  Stamp stamp;             // before the change
  Digest xattrs = 0;
  Digest content = 0;
  std::uint64_t held = 0;  // the inode's node, held until the journal has found a name of it
};

// A file that has no name (yet): O_TMPFILE.
struct BornRecord {
  std::uint64_t epoch = 0;
  ObjectKey key;
  std::uint32_t mode = 0;
};

// Longest name that the log takes; what file systems allow.
inline constexpr std::size_t kMaxLoggedName = 255;
inline constexpr std::size_t kMaxRecordBytes = 1000;

// Encoding writes to `out` and gives the bytes used. Precondition: names of at most kMaxLoggedName,
// kMaxRecordBytes of room.
std::size_t encode(const NamesRecord& record, MutableByteSpan out) noexcept;
std::size_t encode(const InodeRecord& record, MutableByteSpan out) noexcept;
std::size_t encode(const BornRecord& record, MutableByteSpan out) noexcept;

// Receives decoded records. Names point into the bytes that were decoded.
class RecordVisitor {
 public:
  virtual void names(const NamesRecord& record) = 0;
  virtual void inode(const InodeRecord& record) = 0;
  virtual void born(const BornRecord& record) = 0;

 protected:
  ~RecordVisitor() = default;
};

// Decodes one record that fills `bytes`. Accepts any bytes. EINVAL: it is none.
Result<void> decode(ByteSpan bytes, RecordVisitor& visitor);

}  // namespace passthroughfs
