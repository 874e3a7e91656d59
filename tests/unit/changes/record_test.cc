// SPDX-License-Identifier: Apache-2.0
#include "changes/record.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace passthroughfs {
namespace {

class Kept final : public RecordVisitor {
 public:
  void names(const NamesRecord& record) override { names_record = record; }
  void inode(const InodeRecord& record) override { inode_record = record; }
  void born(const BornRecord& record) override { born_record = record; }

  std::optional<NamesRecord> names_record;
  std::optional<InodeRecord> inode_record;
  std::optional<BornRecord> born_record;
};

std::vector<std::byte> bytes_of_names(const NamesRecord& record) {
  std::vector<std::byte> bytes(kMaxRecordBytes);
  bytes.resize(encode(record, bytes));
  return bytes;
}

NamesRecord rename_of(const std::string& from, const std::string& to) {
  NamesRecord record;
  record.epoch = 7;
  record.count = 2;
  record.bindings[0].directory = {1, 2};
  record.bindings[0].name = from;
  record.bindings[0].before = {1, 30};
  record.bindings[0].before_stamp.mode = 0100644;
  record.bindings[1].directory = {1, 3};
  record.bindings[1].name = to;
  record.bindings[1].after = {1, 30};
  record.bindings[1].born = true;
  record.bindings[1].last = true;
  return record;
}

TEST(RecordTest, ARenameComesBackAsItWas) {
  const std::string longest(kMaxLoggedName, 'n');
  const auto bytes = bytes_of_names(rename_of(longest, "b"));
  Kept kept;
  ASSERT_TRUE(decode(bytes, kept).has_value());
  ASSERT_TRUE(kept.names_record.has_value());
  const NamesRecord& record = *kept.names_record;
  EXPECT_EQ(record.epoch, 7U);
  ASSERT_EQ(record.count, 2U);
  EXPECT_EQ(record.bindings[0].name, longest);
  EXPECT_EQ(record.bindings[0].before, (ObjectKey{1, 30}));
  EXPECT_EQ(record.bindings[0].before_stamp.mode, 0100644U);
  EXPECT_FALSE(record.bindings[0].after.exists());
  EXPECT_EQ(record.bindings[1].name, "b");
  EXPECT_EQ(record.bindings[1].after, (ObjectKey{1, 30}));
  EXPECT_TRUE(record.bindings[1].born);
  EXPECT_TRUE(record.bindings[1].last);
}

TEST(RecordTest, TheLongestRecordFitsIntoARecord) {
  const std::string longest(kMaxLoggedName, 'n');
  EXPECT_LE(bytes_of_names(rename_of(longest, longest)).size(), kMaxRecordBytes);
}

TEST(RecordTest, ARecordThatIsCutShortOrTooLongIsRefused) {
  auto bytes = bytes_of_names(rename_of("a", "b"));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Kept kept;
    EXPECT_FALSE(decode(ByteSpan(bytes).first(size), kept).has_value()) << size;
  }
  bytes.push_back(std::byte{0});
  Kept kept;
  EXPECT_FALSE(decode(bytes, kept).has_value());
}

TEST(RecordTest, NamesThatNoDirectoryCanHaveAreRefused) {
  for (const std::string& name : {std::string(), std::string("a/b"), std::string("a\0b", 3)}) {
    NamesRecord record;
    record.count = 1;
    record.bindings[0].name = name;
    Kept kept;
    EXPECT_FALSE(decode(bytes_of_names(record), kept).has_value());
  }
}

TEST(RecordTest, InodesAndBirthsComeBackAsTheyWere) {
  std::vector<std::byte> bytes(kMaxRecordBytes);
  Kept kept;
  InodeRecord inode{3, {4, 5}, mark::kData | mark::kXattr, {}, 6, 7, 8};
  inode.stamp.ctime = -1;
  ASSERT_TRUE(decode(ByteSpan(bytes).first(encode(inode, bytes)), kept).has_value());
  EXPECT_EQ(kept.inode_record->marks, mark::kData | mark::kXattr);
  EXPECT_EQ(kept.inode_record->stamp.ctime, -1);
  EXPECT_EQ(kept.inode_record->xattrs, 6U);
  EXPECT_EQ(kept.inode_record->content, 7U);
  EXPECT_EQ(kept.inode_record->held, 8U);
  ASSERT_TRUE(decode(ByteSpan(bytes).first(encode(BornRecord{3, {4, 5}, 0100600}, bytes)), kept)
                  .has_value());
  EXPECT_EQ(kept.born_record->key, (ObjectKey{4, 5}));
  EXPECT_EQ(kept.born_record->mode, 0100600U);
}

}  // namespace
}  // namespace passthroughfs
