// SPDX-License-Identifier: Apache-2.0
#include "guard/service_manager.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string>

namespace passthroughfs {
namespace {

class ServiceManagerTest : public ::testing::Test {
 protected:
  ~ServiceManagerTest() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
  }
  static std::unique_ptr<ServiceManager> make(const char* socket, const std::string& period,
                                              const std::string& watched) {
    setenv("NOTIFY_SOCKET", socket, 1);
    setenv("WATCHDOG_USEC", period.c_str(), 1);
    if (watched.empty()) {
      unsetenv("WATCHDOG_PID");
    } else {
      setenv("WATCHDOG_PID", watched.c_str(), 1);
    }
    return ServiceManager::from_environment();
  }
};

TEST_F(ServiceManagerTest, TakesTheVariablesAway) {
  EXPECT_NE(make("@x", "1000", std::to_string(getpid())), nullptr);
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
    EXPECT_EQ(getenv(name), nullptr) << name;
  }
  EXPECT_EQ(ServiceManager::from_environment(), nullptr);
}

TEST_F(ServiceManagerTest, ThePeriodIsForTheProcessThatIsNamed) {
  EXPECT_EQ(make("@x", "1000", "")->watchdog_ns(), 1'000'000U);
  EXPECT_EQ(make("@x", "1000", std::to_string(getpid()))->watchdog_ns(), 1'000'000U);
  EXPECT_EQ(make("@x", "1000", "1")->watchdog_ns(), 0U);
  EXPECT_EQ(make("@x", "x", "")->watchdog_ns(), 0U);
  EXPECT_EQ(make("@x", "-1", "")->watchdog_ns(), 0U);
}

TEST_F(ServiceManagerTest, AnAddressThatIsNoneIsIgnored) {
  for (const std::string& name : {std::string("x"), std::string("/"), std::string("vsock:2:1"),
                                  "/" + std::string(200, 'x')}) {
    EXPECT_EQ(make(name.c_str(), "1000", ""), nullptr) << name;
  }
}

TEST_F(ServiceManagerTest, WhatWasKeptIsFoundByName) {
  const auto set = [](const std::string& pid, const char* count, const char* names) {
    setenv("LISTEN_PID", pid.c_str(), 1);
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_FDNAMES", names, 1);
  };
  using Kept = std::map<std::string, int>;
  const std::string own = std::to_string(getpid());
  // They are what happens to have these numbers.
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (const int fd : {3, 4}) {
    const bool open = fcntl(fd, F_GETFD) >= 0;
    EXPECT_TRUE(open || dup2(null, fd) == fd);
  }
  set(own, "2", "one:two");
  EXPECT_EQ(kept_descriptors(), (Kept{{"one", 3}, {"two", 4}}));
  set(own, "1", "one:two");
  EXPECT_EQ(kept_descriptors(), (Kept{{"one", 3}}));
  set("1", "2", "one:two");
  EXPECT_EQ(kept_descriptors(), Kept{}) << "another process's";
  set(own, "x", "one:two");
  EXPECT_EQ(kept_descriptors(), Kept{});
  set(own, "99999999999", "one");
  EXPECT_EQ(kept_descriptors(), (Kept{{"one", 3}}));
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  EXPECT_EQ(kept_descriptors(), Kept{});
}

TEST_F(ServiceManagerTest, NobodyListensAndNothingHappens) {
  const auto manager = make("/nonexistent/socket", "1000", "");
  ASSERT_NE(manager, nullptr);
  manager->tell("READY=1");
  manager->ping(1);
}

TEST(OneLine, HasNoSecondOne) {
  EXPECT_EQ(one_line("a\nb\x7f c"), "a?b? c");
  EXPECT_LE(one_line(std::string(5000, 'x')).size(), 1000U);
}

}  // namespace
}  // namespace passthroughfs
