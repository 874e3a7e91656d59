// SPDX-License-Identifier: Apache-2.0
#include "source/device_map.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "base/region_list.h"
#include "support/successor.h"

namespace passthroughfs {
namespace {

constexpr std::uint64_t kRoot = device_number(8, 1);

TEST(DeviceMapTest, DeviceNumbersAreDistinct) {
  EXPECT_NE(device_number(1, 2), device_number(2, 1));
  EXPECT_EQ(device_number(0xffffffff, 0xffffffff), ~0ULL);
}

TEST(DeviceMapTest, TheSourcesOwnNumbersAreShownAsTheyAre) {
  DeviceMap devices(kRoot);
  for (const std::uint64_t ino : std::initializer_list<std::uint64_t>{1, 2, 1ULL << 40, ~0ULL}) {
    EXPECT_EQ(devices.shown_ino(kRoot, ino), ino);
  }
}

TEST(DeviceMapTest, TheSameNumberOnTwoDevicesIsShownAsTwo) {
  DeviceMap devices(kRoot);
  std::set<std::uint64_t> shown;
  for (std::uint32_t minor = 1; minor <= 100; ++minor) {
    for (std::uint64_t ino = 1; ino <= 10; ++ino) {
      EXPECT_TRUE(shown.insert(devices.shown_ino(device_number(8, minor), ino)).second);
    }
  }
}

TEST(DeviceMapTest, ANumberStaysTheSame) {
  DeviceMap devices(kRoot);
  const std::uint64_t first = devices.shown_ino(device_number(8, 2), 5);
  (void)devices.shown_ino(device_number(8, 3), 5);
  EXPECT_EQ(devices.shown_ino(device_number(8, 2), 5), first);
}

// Devices of containers and snapshots come and go; nobody else may ever take the source's place.
TEST(DeviceMapTest, HoweverManyDevicesThereAreNoneIsTakenForTheSource) {
  DeviceMap devices(kRoot);
  for (std::uint32_t minor = 2; minor < 70'000; ++minor) {
    ASSERT_NE(devices.shown_ino(device_number(9, minor), 5), 5U) << minor;
  }
}

TEST(DeviceMapTest, NumbersAbove48BitsStayApart) {
  DeviceMap devices(kRoot);
  const std::uint64_t device = device_number(8, 2);
  std::set<std::uint64_t> shown;
  for (std::uint64_t high = 0; high < 100; ++high) {
    for (std::uint64_t low = 1; low < 100; ++low) {
      EXPECT_TRUE(shown.insert(devices.shown_ino(device, high << 56 | low)).second)
          << high << " " << low;
    }
  }
}

TEST(DeviceMapTest, ThreadsAgreeOnNewDevices) {
  constexpr std::uint32_t kDevices = 200;
  DeviceMap devices(kRoot);
  std::vector<std::vector<std::uint64_t>> shown(4);
  std::vector<std::thread> threads;
  for (auto& mine : shown) {
    threads.emplace_back([&devices, &mine] {
      for (std::uint32_t minor = 2; minor < kDevices; ++minor) {
        mine.push_back(devices.shown_ino(device_number(8, minor), 7));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : shown) EXPECT_EQ(mine, shown[0]);
  EXPECT_EQ(std::set<std::uint64_t>(shown[0].begin(), shown[0].end()).size(), shown[0].size());
}

// Each process is made with the map as it was at first.
TEST(DeviceMapTest, MarksOutliveTheProcess) {
  DeviceMap devices(kRoot);
  const std::uint64_t before = devices.shown_ino(device_number(8, 2), 5);
  Regions regions;
  ASSERT_TRUE(devices.keep(regions));
  auto memory = RegionList<std::uint64_t>::create("shown", 1000, regions);
  ASSERT_TRUE(memory);
  for (std::uint32_t server = 0; server < 10; ++server) {
    ASSERT_EQ(test::run_sharing([&]() -> int {
                devices.recover();
                if (devices.shown_ino(device_number(8, 2), 5) != before) return 1;
                // Those that others have met, the last one first.
                for (auto known = static_cast<std::uint32_t>(memory->entries().size());
                     known-- > 0;) {
                  if (devices.shown_ino(device_number(9, known), 5) != memory->entries()[known]) {
                    return 2;
                  }
                }
                for (int i = 0; i < 20; ++i) {
                  const auto minor = static_cast<std::uint32_t>(memory->entries().size());
                  if (!memory->append(devices.shown_ino(device_number(9, minor), 5))) return 3;
                }
                test::die();
              }),
              "signal 9")
        << server;
  }
  const std::set<std::uint64_t> shown(memory->entries().begin(), memory->entries().end());
  EXPECT_EQ(shown.size(), 200U) << "each has a mark of its own";
  EXPECT_FALSE(shown.contains(before));
  devices.recover();
  EXPECT_EQ(devices.shown_ino(device_number(9, 77), 5), memory->entries()[77]);
}

// Those without a place in memory have a mark in the process.
TEST(DeviceMapTest, MoreDevicesThanAreKeptAreShownAllTheSame) {
  DeviceMap devices(kRoot);
  Regions regions;
  ASSERT_TRUE(devices.keep(regions));
  for (std::uint32_t minor = 2; minor < 33'000; ++minor) {
    const std::uint64_t shown = devices.shown_ino(device_number(9, minor), 5);
    ASSERT_NE(shown, 5U);
    ASSERT_EQ(devices.shown_ino(device_number(9, minor), 5), shown);
  }
}

}  // namespace
}  // namespace passthroughfs
