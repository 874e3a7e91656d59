// SPDX-License-Identifier: Apache-2.0
#include "changes/record.h"

#include <sys/stat.h>

#include <cstring>

namespace passthroughfs {
namespace {

enum class Kind : std::uint8_t { names = 1, inode = 2, born = 3 };

// The fixed parts, as they lie in the log. Native byte order: a log never leaves its machine.
struct Head {
  Kind kind;
  std::uint8_t bindings;
  std::uint8_t marks;
  std::uint8_t reserved[5];
  std::uint64_t epoch;
};
static_assert(sizeof(Head) == 16);

struct RawBinding {
  ObjectKey directory, before, after;
  Stamp before_stamp;
  Digest before_xattrs;
  std::uint32_t after_mode;
  std::uint16_t name_size;
  std::uint8_t born;
  std::uint8_t last;
};

struct RawInode {
  ObjectKey key;
  Stamp stamp;
  Digest xattrs, content;
  std::uint64_t held;
};
static_assert(sizeof(RawInode) == 80);

struct RawBorn {
  ObjectKey key;
  std::uint64_t mode;
};

static_assert(sizeof(Head) + 2 * (sizeof(RawBinding) + kMaxLoggedName) <= kMaxRecordBytes);

class Writer {
 public:
  explicit Writer(MutableByteSpan out) noexcept : out_(out) {}
  void put(const void* data, std::size_t size) noexcept {
    std::memcpy(out_.data() + used_, data, size);
    used_ += size;
  }
  template <typename T>
  void put(const T& value) noexcept {
    put(&value, sizeof value);
  }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  MutableByteSpan out_;
  std::size_t used_ = 0;
};

class Reader {
 public:
  explicit Reader(ByteSpan in) noexcept : in_(in) {}
  template <typename T>
  bool get(T& value) noexcept {
    if (in_.size() < sizeof value) return false;
    std::memcpy(&value, in_.data(), sizeof value);
    in_ = in_.subspan(sizeof value);
    return true;
  }
  bool get(std::string_view& text, std::size_t size) noexcept {
    if (in_.size() < size) return false;
    text = {reinterpret_cast<const char*>(in_.data()), size};
    in_ = in_.subspan(size);
    return true;
  }
  [[nodiscard]] bool at_end() const noexcept { return in_.empty(); }

 private:
  ByteSpan in_;
};

Result<void> decode_names(const Head& head, Reader& in, RecordVisitor& visitor) {
  NamesRecord record;
  record.epoch = head.epoch;
  if (head.bindings == 0 || head.bindings > 2) return Err(EINVAL);
  for (int i = 0; i < head.bindings; ++i) {
    RawBinding raw;
    Binding binding;
    if (!in.get(raw) || raw.name_size > kMaxLoggedName || raw.name_size == 0 ||
        !in.get(binding.name, raw.name_size) ||
        binding.name.find_first_of(std::string_view("/\0", 2)) != std::string_view::npos) {
      return Err(EINVAL);
    }
    binding.directory = raw.directory;
    binding.before = raw.before;
    binding.before_stamp = raw.before_stamp;
    binding.before_xattrs = raw.before_xattrs;
    binding.after = raw.after;
    binding.after_mode = raw.after_mode;
    binding.born = raw.born != 0;
    binding.last = raw.last != 0;
    record.bindings[record.count++] = binding;
  }
  if (!in.at_end()) return Err(EINVAL);
  visitor.names(record);
  return ok();
}

}  // namespace

Stamp Stamp::of(const struct statx& st) noexcept {
  const auto nanoseconds = [](const statx_timestamp& time) {
    return time.tv_sec * 1'000'000'000 + static_cast<std::int64_t>(time.tv_nsec);
  };
  Stamp stamp;
  stamp.mode = st.stx_mode;
  stamp.uid = st.stx_uid;
  stamp.gid = st.stx_gid;
  stamp.size = st.stx_size;
  stamp.mtime = nanoseconds(st.stx_mtime);
  stamp.ctime = nanoseconds(st.stx_ctime);
  return stamp;
}

std::size_t encode(const NamesRecord& record, MutableByteSpan out) noexcept {
  Writer writer(out);
  Head head{};
  head.kind = Kind::names;
  head.bindings = static_cast<std::uint8_t>(record.count);
  head.epoch = record.epoch;
  writer.put(head);
  for (std::size_t i = 0; i < record.count; ++i) {
    const Binding& binding = record.bindings[i];
    RawBinding raw{};
    raw.directory = binding.directory;
    raw.before = binding.before;
    raw.after = binding.after;
    raw.before_stamp = binding.before_stamp;
    raw.before_xattrs = binding.before_xattrs;
    raw.after_mode = binding.after_mode;
    raw.name_size = static_cast<std::uint16_t>(binding.name.size());
    raw.born = binding.born ? 1 : 0;
    raw.last = binding.last ? 1 : 0;
    writer.put(raw);
    writer.put(binding.name.data(), binding.name.size());
  }
  return writer.used();
}

std::size_t encode(const InodeRecord& record, MutableByteSpan out) noexcept {
  Writer writer(out);
  Head head{};
  head.kind = Kind::inode;
  head.marks = record.marks;
  head.epoch = record.epoch;
  writer.put(head);
  writer.put(RawInode{record.key, record.stamp, record.xattrs, record.content, record.held});
  return writer.used();
}

std::size_t encode(const BornRecord& record, MutableByteSpan out) noexcept {
  Writer writer(out);
  Head head{};
  head.kind = Kind::born;
  head.epoch = record.epoch;
  writer.put(head);
  writer.put(RawBorn{record.key, record.mode});
  return writer.used();
}

Result<void> decode(ByteSpan bytes, RecordVisitor& visitor) {
  Reader in(bytes);
  Head head;
  if (!in.get(head)) return Err(EINVAL);
  switch (head.kind) {
    case Kind::names: return decode_names(head, in, visitor);
    case Kind::inode: {
      RawInode raw;
      if (!in.get(raw) || !in.at_end()) return Err(EINVAL);
      visitor.inode(
          {head.epoch, raw.key, head.marks, raw.stamp, raw.xattrs, raw.content, raw.held});
      return ok();
    }
    case Kind::born: {
      RawBorn raw;
      if (!in.get(raw) || !in.at_end()) return Err(EINVAL);
      visitor.born({head.epoch, raw.key, static_cast<std::uint32_t>(raw.mode)});
      return ok();
    }
  }
  return Err(EINVAL);
}

}  // namespace passthroughfs
