// SPDX-License-Identifier: Apache-2.0
#include "changes/change_log.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

ByteSpan span_of(const std::string& text) {
  return ByteSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
}
std::string text_of_record(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::vector<std::string> read_all(ChangeLog& log, std::uint64_t from) {
  std::vector<std::string> found;
  (void)log.read(from, [&](ByteSpan bytes) { found.push_back(text_of_record(bytes)); });
  return found;
}

TEST(ChangeLogTest, RecordsComeOutInTheirOrderUntilTheyAreReleased) {
  auto opened = ChangeLog::in_memory();
  ASSERT_TRUE(opened.has_value());
  ChangeLog& ring = **opened;
  ring.append(span_of("one"));
  ring.append(span_of("two"));
  EXPECT_EQ(read_all(ring, ring.position()), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(read_all(ring, ring.position()), (std::vector<std::string>{"one", "two"}));
  ring.release(ring.read(ring.position(), [](ByteSpan) {}));
  ring.append(span_of("three"));
  EXPECT_EQ(read_all(ring, ring.position()), (std::vector<std::string>{"three"}));
}

TEST(ChangeLogTest, AReaderThatFallsBehindMissesNothing) {
  auto opened = ChangeLog::in_memory();
  ASSERT_TRUE(opened.has_value());
  ChangeLog& log = **opened;
  // Several times what the ring holds, read in between at odd moments.
  constexpr int kRecords = 60'000;
  int expected = 0;
  const auto read = [&] {
    const std::uint64_t end = log.read(log.position(), [&](ByteSpan bytes) {
      std::string text = text_of_record(bytes);
      EXPECT_EQ(std::stoi(text.substr(0, 8)), expected);
      ++expected;
    });
    log.release(end);
  };
  for (int i = 0; i < kRecords; ++i) {
    std::string record = std::to_string(i);
    record.insert(0, 8 - record.size(), '0');
    record.resize(8 + static_cast<std::size_t>(i) % 900, '.');
    log.append(span_of(record));
    if (i % 25'000 == 24'999) read();
  }
  read();
  read();
  EXPECT_EQ(expected, kRecords);
  EXPECT_FALSE(log.lost());
}

TEST(ChangeLogTest, ManyThreadsAppendWithoutTearing) {
  auto opened = ChangeLog::in_memory();
  ASSERT_TRUE(opened.has_value());
  ChangeLog& log = **opened;
  std::vector<std::thread> threads;
  for (char name = 'a'; name < 'e'; ++name) {
    threads.emplace_back([&log, name] {
      for (std::size_t i = 1; i <= 2000; ++i) log.append(span_of(std::string(i % 97 + 1, name)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::size_t count = 0;
  (void)log.read(log.position(), [&](ByteSpan bytes) {
    const std::string text = text_of_record(bytes);
    EXPECT_EQ(text, std::string(text.size(), text[0]));
    ++count;
  });
  EXPECT_EQ(count, 8000U);
}

TEST(ChangeLogTest, AKilledProcessLeavesItsRecordsAndIntents) {
  const test::TempTree tree;
  const std::string path = tree / "log";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto log = ChangeLog::open(path, 1);
    if (!log) _exit(1);
    (*log)->set_epoch(5);
    (*log)->append(span_of("record"));
    ChangeLog::Intent ended = (*log)->begin();
    ended.end();
    ChangeLog::Intent intent = (*log)->begin();
    std::memcpy(intent.room().data(), "intent", 6);
    intent.arm(6);
    ChangeLog::Intent unarmed = (*log)->begin();
    (void)kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  auto log = ChangeLog::open(path, 1);
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ((*log)->found(), ChangeLog::Found::records);
  EXPECT_FALSE((*log)->lost());
  EXPECT_EQ((*log)->epoch(), 5U);
  EXPECT_EQ(read_all(**log, (*log)->position()), std::vector<std::string>{"record"});
  std::vector<std::string> intents;
  (*log)->take_intents([&](ByteSpan bytes) { intents.push_back(text_of_record(bytes)); });
  EXPECT_EQ(intents, std::vector<std::string>{"intent"});
}

TEST(ChangeLogTest, OneThatWasClosedInOrderHasNothing) {
  const test::TempTree tree;
  {
    auto log = ChangeLog::open(tree / "log", 1);
    ASSERT_TRUE(log.has_value());
    EXPECT_EQ((*log)->found(), ChangeLog::Found::nothing);
    (*log)->close_in_order(77);
  }
  auto log = ChangeLog::open(tree / "log", 1);
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ((*log)->found(), ChangeLog::Found::nothing);
  EXPECT_EQ((*log)->last_word(), 77);
}

TEST(ChangeLogTest, OneOfAnotherJournalIsNotBelieved) {
  const test::TempTree tree;
  {
    auto log = ChangeLog::open(tree / "log", 1);
    ASSERT_TRUE(log.has_value());
    (*log)->append(span_of("record"));
  }
  auto log = ChangeLog::open(tree / "log", 2);
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ((*log)->found(), ChangeLog::Found::stale);
  EXPECT_TRUE(read_all(**log, (*log)->position()).empty());
}

TEST(ChangeLogTest, TwoCannotUseOne) {
  const test::TempTree tree;
  auto first = ChangeLog::open(tree / "log", 1);
  ASSERT_TRUE(first.has_value());
  auto second = ChangeLog::open(tree / "log", 1);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error(), EBUSY);
}

TEST(ChangeLogTest, AForeignFileIsLeftAlone) {
  const test::TempTree tree;
  std::ofstream(tree / "log") << "a letter to a friend";
  auto log = ChangeLog::open(tree / "log", 1);
  ASSERT_FALSE(log.has_value());
  EXPECT_EQ(log.error(), EINVAL);
  std::ifstream file(tree / "log");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "a letter to a friend");
}

TEST(ChangeLogTest, ADamagedOneIsNotReadBeyondItsEnds) {
  const test::TempTree tree;
  {
    auto log = ChangeLog::open(tree / "log", 1);
    ASSERT_TRUE(log.has_value());
    for (int i = 0; i < 100; ++i) (*log)->append(span_of("record"));
  }
  // The records begin after the header and the intents.
  std::fstream file(tree / "log", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096 + 512 * 1024 + 16 * 50);
  const std::string garbage(16, '\xfe');
  file.write(garbage.data(), static_cast<std::streamsize>(garbage.size()));
  file.close();
  auto log = ChangeLog::open(tree / "log", 1);
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ(read_all(**log, (*log)->position()).size(), 50U);
  EXPECT_TRUE((*log)->lost());
}

}  // namespace
}  // namespace passthroughfs
