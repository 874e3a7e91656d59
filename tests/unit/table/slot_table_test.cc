// SPDX-License-Identifier: Apache-2.0
#include "table/slot_table.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

namespace passthroughfs {
namespace {

struct Record : SlotHead {
  std::uint32_t value;
};

// The table, and the record of a number that the test itself holds.
class SlotTableTest : public ::testing::Test {
 protected:
  static Region region(std::size_t records) {
    auto made = Region::create("slots", SlotTable<Record>::bytes_for(records));
    EXPECT_TRUE(made.has_value());
    return std::move(*made);
  }
  std::uint64_t make(std::uint32_t pins = 0) {
    auto number = table_.allocate();
    EXPECT_TRUE(number.has_value());
    table_.publish(record(*number), pins);
    return *number;
  }
  Record& record(std::uint64_t number) { return table_.at(SlotNumber::slot(number)); }

  SlotTable<Record> table_{region(4096), 1};
};

TEST_F(SlotTableTest, TheFirstNumberIsTheFirstSlotOfGenerationZero) { EXPECT_EQ(make(), 1U); }

TEST_F(SlotTableTest, NumbersAreNeverHandedOutTwice) {
  std::set<std::uint64_t> seen;
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint64_t> live;
    for (int i = 0; i < 50; ++i) {
      live.push_back(make());
      EXPECT_TRUE(seen.insert(live.back()).second) << live.back();
    }
    for (const std::uint64_t number : live) {
      ASSERT_EQ(table_.retire(record(number), SlotNumber::generation(number)), true);
      table_.free(record(number));
    }
  }
  EXPECT_EQ(table_.high_water(), 51U) << "freed slots are used again";
}

TEST_F(SlotTableTest, OnlyALiveNumberCanBePinned) {
  const std::uint64_t number = make();
  EXPECT_NE(table_.pin(number), nullptr);
  EXPECT_EQ(table_.pin(0), nullptr) << "slot 0 is nobody's";
  EXPECT_EQ(table_.pin(number + 1), nullptr) << "never used";
  EXPECT_EQ(table_.pin(1U << 30), nullptr) << "beyond the table";
  EXPECT_EQ(table_.pin(SlotNumber::make(1, SlotNumber::slot(number))), nullptr) << "not yet";
  auto unpublished = table_.allocate();
  ASSERT_TRUE(unpublished.has_value());
  EXPECT_EQ(table_.pin(*unpublished), nullptr) << "still being filled";
}

TEST_F(SlotTableTest, AFreedNumberCannotBePinnedThoughItsSlotIsUsedAgain) {
  const std::uint64_t first = make();
  ASSERT_EQ(table_.retire(record(first), 0), true);
  table_.free(record(first));
  EXPECT_EQ(table_.pin(first), nullptr);
  const std::uint64_t second = make();
  ASSERT_EQ(SlotNumber::slot(second), SlotNumber::slot(first));
  EXPECT_EQ(table_.pin(first), nullptr);
  EXPECT_NE(table_.pin(second), nullptr);
}

TEST_F(SlotTableTest, ThePinThatOutlivesRetirementOwnsTheSlot) {
  const std::uint64_t number = make();
  Record* pinned = table_.pin(number);
  Record* again = table_.pin(number);
  ASSERT_NE(pinned, nullptr);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(table_.retire(*pinned, 0), false) << "somebody has it pinned";
  EXPECT_EQ(table_.pin(number), nullptr);
  EXPECT_FALSE(table_.unpin(*again));
  EXPECT_TRUE(table_.unpin(*pinned));
}

TEST_F(SlotTableTest, APublishersPinsCount) {
  const std::uint64_t number = make(2);
  EXPECT_EQ(table_.pins(record(number)), 2U);
  EXPECT_EQ(table_.retire(record(number), 0), false);
  EXPECT_FALSE(table_.unpin(record(number)));
  EXPECT_TRUE(table_.unpin(record(number)));
}

TEST_F(SlotTableTest, ASlotRetiresOnce) {
  const std::uint64_t number = make(1);
  EXPECT_EQ(table_.retire(record(number), 1), std::nullopt) << "another generation";
  EXPECT_EQ(table_.retire(record(number), 0), false);
  EXPECT_EQ(table_.retire(record(number), 0), std::nullopt);
}

TEST_F(SlotTableTest, UnpinUnlessLastLeavesOnlyTheEndToTheOwnersLock) {
  const std::uint64_t number = make(2);
  EXPECT_TRUE(table_.unpin_unless_last(record(number)));
  EXPECT_TRUE(table_.unpin_unless_last(record(number))) << "live: not an end";
  table_.pin_again(record(number));
  ASSERT_EQ(table_.retire(record(number), 0), false);
  EXPECT_FALSE(table_.unpin_unless_last(record(number)));
  EXPECT_EQ(table_.pins(record(number)), 1U) << "nothing happened";
  table_.pin_again(record(number));
  EXPECT_TRUE(table_.unpin_unless_last(record(number))) << "retired, but not the last";
}

TEST_F(SlotTableTest, ARevivedSlotKeepsItsNumber) {
  const std::uint64_t number = make(1);
  ASSERT_EQ(table_.retire(record(number), 0), false);
  table_.revive(record(number));
  EXPECT_TRUE(table_.is_live(record(number)));
  EXPECT_NE(table_.pin(number), nullptr);
}

TEST_F(SlotTableTest, ASlotWhoseGenerationsAreUsedUpIsLeftOut) {
  const std::uint64_t number = make();
  Record& worn = record(number);
  worn.state.store((0xffffffffULL << 32) | SlotTable<Record>::kLive);
  const std::uint64_t last = SlotNumber::make(0xffffffff, SlotNumber::slot(number));
  EXPECT_NE(table_.pin(last), nullptr);
  (void)table_.unpin(worn);
  ASSERT_EQ(table_.retire(worn, 0xffffffff), true);
  table_.free(worn);
  EXPECT_EQ(table_.pin(last), nullptr);
  for (int i = 0; i < 100; ++i) EXPECT_NE(SlotNumber::slot(make()), SlotNumber::slot(number));
}

TEST_F(SlotTableTest, AFullTableGivesENFILEUntilASlotIsFree) {
  SlotTable<Record> small(region(4), 1);  // 1, 2 and 3
  for (int i = 0; i < 3; ++i) {
    auto number = small.allocate();
    ASSERT_TRUE(number.has_value());
    small.publish(small.at(SlotNumber::slot(*number)), 0);
  }
  auto none = small.allocate();
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error(), ENFILE);
  ASSERT_EQ(small.retire(small.at(2), 0), true);
  small.free(small.at(2));
  auto again = small.allocate();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(*again, SlotNumber::make(1, 2));
}

TEST_F(SlotTableTest, OnlyAnUnpinnedLiveSlotCanBeBusy) {
  const std::uint64_t number = make(1);
  EXPECT_FALSE(table_.try_busy(record(number))) << "pinned";
  (void)table_.unpin(record(number));
  EXPECT_TRUE(table_.try_busy(record(number)));
  EXPECT_FALSE(table_.try_busy(record(number))) << "busy";
  table_.end_busy(record(number));
  ASSERT_EQ(table_.retire(record(number), 0), true);
  EXPECT_FALSE(table_.try_busy(record(number))) << "not live";
  table_.free(record(number));
  EXPECT_FALSE(table_.try_busy(record(number))) << "free";
}

TEST_F(SlotTableTest, APinWaitsForABusySlot) {
  const std::uint64_t number = make();
  record(number).value = 1;
  ASSERT_TRUE(table_.try_busy(record(number)));
  std::thread reader([&] {
    Record* pinned = table_.pin(number);
    ASSERT_NE(pinned, nullptr);
    EXPECT_EQ(pinned->value, 2U) << "saw the inside of a busy section";
    (void)table_.unpin(*pinned);
  });
  record(number).value = 2;
  table_.end_busy(record(number));
  reader.join();
}

TEST_F(SlotTableTest, ThreadsGetDistinctSlots) {
  constexpr int kThreads = 8;
  constexpr int kEach = 500;
  std::vector<std::vector<std::uint64_t>> got(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        auto number = table_.allocate();
        if (!number) return;
        record(*number).value = static_cast<std::uint32_t>(t);
        table_.publish(record(*number), 0);
        if (i % 3 == 0 && table_.retire(record(*number), SlotNumber::generation(*number)) == true) {
          table_.free(record(*number));
        }
        got[static_cast<std::size_t>(t)].push_back(*number);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint64_t> all;
  for (const auto& numbers : got) {
    EXPECT_EQ(numbers.size(), std::size_t{kEach});
    for (const std::uint64_t number : numbers) EXPECT_TRUE(all.insert(number).second) << number;
  }
}

// Many threads pin while one retires: exactly one of them is told that the slot is its own.
TEST_F(SlotTableTest, ExactlyOneThreadOwnsARetiredSlot) {
  constexpr int kThreads = 4;
  for (int round = 0; round < 300; ++round) {
    const std::uint64_t number = make();
    const std::uint32_t generation = SlotNumber::generation(number);
    std::atomic<int> owners{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        while (!go.load()) std::this_thread::yield();
        for (int i = 0; i < 50; ++i) {
          Record* pinned = table_.pin(number);
          if (pinned == nullptr) break;
          if (table_.unpin(*pinned)) owners.fetch_add(1);
        }
        if (t < 2 && table_.retire(record(number), generation) == true) owners.fetch_add(1);
      });
    }
    go.store(true);
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(owners.load(), 1);
    table_.free(record(number));
  }
}

// One process after the other on the same memory.
class SlotTableRebuildTest : public SlotTableTest {
 protected:
  using Fate = SlotTable<Record>::Fate;
  // Records with an odd value go on; the value of a record that ends is 0 afterwards.
  Result<void> rebuild() {
    return table_.rebuild([](Record& record, bool live) {
      if (live && record.value % 2 == 1) return Fate::goes_on;
      if (record.value == 0) return Fate::unused;
      record.value = 0;
      return Fate::ends;
    });
  }
  std::uint64_t make_with(std::uint32_t value, std::uint32_t pins = 0) {
    const std::uint64_t number = make(pins);
    record(number).value = value;
    return number;
  }
};

TEST_F(SlotTableRebuildTest, WhatGoesOnIsLiveAndNobodysInUse) {
  const std::uint64_t pinned = make_with(1, 7);
  const std::uint64_t busy = make_with(3);
  ASSERT_TRUE(table_.try_busy(record(busy)));
  ASSERT_TRUE(rebuild());
  for (const std::uint64_t number : {pinned, busy}) {
    EXPECT_EQ(table_.pins(record(number)), 0U);
    Record* const got = table_.pin(number);
    ASSERT_EQ(got, &record(number));
    EXPECT_FALSE(table_.unpin(*got));
    EXPECT_EQ(table_.retire(record(number), SlotNumber::generation(number)), true);
  }
}

TEST_F(SlotTableRebuildTest, WhatEndsIsFreeUnderAnotherNumber) {
  const std::uint64_t live = make_with(2, 1);
  const std::uint64_t retired = make_with(5, 1);
  ASSERT_EQ(table_.retire(record(retired), 0), false);
  ASSERT_TRUE(rebuild());
  EXPECT_EQ(table_.pin(live), nullptr);
  EXPECT_EQ(table_.pin(retired), nullptr);
  EXPECT_EQ(make(), SlotNumber::make(1, SlotNumber::slot(live)));
  EXPECT_EQ(make(), SlotNumber::make(1, SlotNumber::slot(retired)));
  EXPECT_EQ(make(), SlotNumber::make(0, 3));
}

// A slot that was taken from the free list and never published, and one that was on it.
TEST_F(SlotTableRebuildTest, WhatWasNotInUseIsFreeUnderItsNumber) {
  auto taken = table_.allocate();
  ASSERT_TRUE(taken);
  const std::uint64_t freed = make();
  ASSERT_EQ(table_.retire(record(freed), 0), true);
  table_.free(record(freed));
  ASSERT_TRUE(rebuild());
  EXPECT_EQ(make(), *taken);
  EXPECT_EQ(make(), SlotNumber::make(1, SlotNumber::slot(freed)));
}

TEST_F(SlotTableRebuildTest, NumbersAreNotHandedOutTwiceHoweverOftenItIsTakenOver) {
  std::set<std::uint64_t> seen;
  std::uint32_t value = 0;
  std::vector<std::uint64_t> living;
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t number = make_with(++value, static_cast<std::uint32_t>(i % 3));
      EXPECT_TRUE(seen.insert(number).second) << number;
      if (value % 2 == 1) living.push_back(number);
    }
    ASSERT_TRUE(rebuild());
    for (const std::uint64_t number : living) {
      Record* const got = table_.pin(number);
      ASSERT_NE(got, nullptr) << number;
      (void)table_.unpin(*got);
    }
    // Some of those end as they do without any failure, and some of these slots are used again.
    for (int i = 0; i < 5; ++i) {
      Record& ending = record(living.back());
      ASSERT_EQ(table_.retire(ending, SlotNumber::generation(living.back())), true);
      ending.value = 0;
      table_.free(ending);
      living.pop_back();
    }
  }
  EXPECT_LT(table_.high_water(), 50U * 20U / 2U + 20U) << "slots were used again";
}

TEST_F(SlotTableRebuildTest, TheLastNumberOfASlotIsNotHandedOutAgain) {
  const std::uint64_t number = make_with(2);
  const std::uint64_t spent = make_with(2);
  for (const std::uint64_t each : {number, spent}) {
    record(each).state.store(0xffffffffULL << 32 | SlotTable<Record>::kLive);
  }
  ASSERT_EQ(table_.retire(record(spent), 0xffffffff), true);
  record(spent).value = 0;
  table_.free(record(spent));
  ASSERT_TRUE(rebuild());
  EXPECT_EQ(table_.pin(SlotNumber::make(0xffffffff, SlotNumber::slot(number))), nullptr);
  EXPECT_EQ(make(), SlotNumber::make(0, 3));
}

TEST_F(SlotTableRebuildTest, ForeignMemoryIsLeftAlone) {
  for (const std::size_t word : {0U, 1U, 2U}) {
    Region memory = region(64);
    auto* const words = reinterpret_cast<std::uint32_t*>(memory.data());
    SlotTable<Record> table(std::move(memory), 1);
    ASSERT_TRUE(table.allocate());
    words[word] = word == 2 ? 1'000'000 : 1;
    const auto rebuilt = table.rebuild([](Record&, bool) {
      ADD_FAILURE() << "asked about a record";
      return Fate::ends;
    });
    ASSERT_FALSE(rebuilt) << word;
    EXPECT_EQ(rebuilt.error(), EUCLEAN);
  }
}

}  // namespace
}  // namespace passthroughfs
