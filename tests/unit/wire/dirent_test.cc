// SPDX-License-Identifier: Apache-2.0
#include "wire/dirent.h"

#include <dirent.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace passthroughfs::wire {
namespace {

// 8-byte aligned, filled with what must not shine through.
class Buffer {
 public:
  explicit Buffer(std::size_t size) : words_((size + 7) / 8, 0x5555555555555555U), size_(size) {}
  [[nodiscard]] MutableByteSpan span() {
    return std::as_writable_bytes(std::span(words_)).first(size_);
  }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t size_;
};

struct Entry {
  Dirent dirent;
  std::string name;
  EntryOut entry;
};

// Reads entries the way the kernel does, which trusts namelen and stops at a missing padding.
std::vector<Entry> parse(ByteSpan bytes, bool plus) {
  std::vector<Entry> out;
  const std::size_t fixed = plus ? sizeof(DirentPlus) : sizeof(Dirent);
  while (bytes.size() >= fixed) {
    Entry entry{};
    if (plus) std::memcpy(&entry.entry, bytes.data(), sizeof entry.entry);
    std::memcpy(&entry.dirent, bytes.data() + fixed - sizeof(Dirent), sizeof(Dirent));
    const std::size_t whole = align_up(fixed + entry.dirent.namelen, 8);
    if (whole > bytes.size()) break;
    entry.name = text_of(bytes.subspan(fixed, entry.dirent.namelen));
    const ByteSpan padding = bytes.first(whole).subspan(fixed + entry.dirent.namelen);
    EXPECT_TRUE(std::all_of(padding.begin(), padding.end(),
                            [](std::byte byte) { return byte == std::byte{0}; }));
    out.push_back(entry);
    bytes = bytes.subspan(whole);
  }
  EXPECT_TRUE(bytes.empty());
  return out;
}

TEST(DirentWriter, WritesWhatTheKernelReads) {
  Buffer buffer(4096);
  DirentWriter writer(buffer.span());
  ASSERT_TRUE(writer.add(11, 1, DT_DIR, "."));
  ASSERT_TRUE(writer.add(12, 0xffffffffffffffffU, DT_REG, "12345678"));
  ASSERT_TRUE(writer.add(13, 3, DT_LNK, std::string(255, 'x')));
  const std::vector<Entry> entries = parse(writer.written(), false);
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].name, ".");
  EXPECT_EQ(entries[0].dirent.ino, 11U);
  EXPECT_EQ(entries[0].dirent.type, DT_DIR);
  EXPECT_EQ(entries[1].name, "12345678");
  EXPECT_EQ(entries[1].dirent.off, 0xffffffffffffffffU);
  EXPECT_EQ(entries[2].name, std::string(255, 'x'));
}

TEST(DirentWriter, WritesEntriesWithAttributes) {
  Buffer buffer(4096);
  DirentWriter writer(buffer.span());
  EntryOut entry{};
  entry.nodeid = 99;
  entry.attr.size = 5;
  ASSERT_TRUE(writer.add_plus(entry, 12, 1, DT_REG, "abc"));
  ASSERT_TRUE(writer.add_plus(EntryOut{}, 13, 2, DT_REG, "d"));
  const std::vector<Entry> entries = parse(writer.written(), true);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].entry.nodeid, 99U);
  EXPECT_EQ(entries[0].entry.attr.size, 5U);
  EXPECT_EQ(entries[0].dirent.ino, 12U);
  EXPECT_EQ(entries[0].name, "abc");
  EXPECT_EQ(entries[1].entry.nodeid, 0U);
}

TEST(DirentWriter, IsEmptyAtFirst) {
  Buffer buffer(64);
  EXPECT_TRUE(DirentWriter(buffer.span()).written().empty());
}

// Around each size at which one more entry fits, padding included.
TEST(DirentWriter, FillsTheBufferExactly) {
  for (const bool plus : {false, true}) {
    for (std::size_t length = 1; length <= 255; ++length) {
      const std::string name(length, 'n');
      const std::size_t whole = (plus ? sizeof(DirentPlus) : sizeof(Dirent)) + align_up(length, 8);
      for (const std::size_t size : {whole - 1, whole, whole + 1}) {
        Buffer buffer(size);
        DirentWriter writer(buffer.span());
        const bool fits = size >= whole;
        ASSERT_EQ(writer.fits(length, plus), fits) << length << " in " << size;
        ASSERT_EQ(
            plus ? writer.add_plus(EntryOut{}, 1, 1, DT_REG, name) : writer.add(1, 1, DT_REG, name),
            fits);
        ASSERT_EQ(writer.written().size(), fits ? whole : 0);
      }
    }
  }
}

TEST(DirentWriter, RefusedEntryWritesNothing) {
  Buffer buffer(32 + 24);
  DirentWriter writer(buffer.span());
  ASSERT_TRUE(writer.add(1, 1, DT_REG, "a"));
  ASSERT_FALSE(writer.add(2, 2, DT_REG, "b"));
  EXPECT_EQ(writer.written().size(), 32U);
  const MutableByteSpan rest = buffer.span().subspan(32);
  EXPECT_TRUE(std::all_of(rest.begin(), rest.end(),
                          [](std::byte byte) { return byte == std::byte{0x55}; }));
}

TEST(DirentWriter, HasNoRoomInAnEmptyBuffer) {
  DirentWriter writer{MutableByteSpan()};
  EXPECT_FALSE(writer.fits(1, false));
  EXPECT_FALSE(writer.add(1, 1, DT_REG, "a"));
}

TEST(DirentWriter, HugeLengthDoesNotWrap) {
  Buffer buffer(4096);
  const DirentWriter writer(buffer.span());
  EXPECT_FALSE(writer.fits(SIZE_MAX, false));
  EXPECT_FALSE(writer.fits(SIZE_MAX - 7, true));
}

}  // namespace
}  // namespace passthroughfs::wire
