// SPDX-License-Identifier: Apache-2.0
#include "guard/service_manager.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
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
