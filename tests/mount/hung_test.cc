// SPDX-License-Identifier: Apache-2.0
//
// The source hangs: what waits for it is named.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "frozen_source.h"
#include "support/json.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class HungTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    if (!source_.ok()) GTEST_SKIP() << "no loop image can be mounted";
  }
  MountSettings settings(const std::string& limit) const {
    MountSettings settings{.options = {"journal=off", "hung_after=" + limit},
                           .source = source_.path()};
    const std::string mode = GetParam();
    settings.options.emplace_back(mode.ends_with("recover") ? "recover=on" : "recover=off");
    settings.options.emplace_back(mode.starts_with("uring") ? "transport=uring" : "transport=dev");
    return settings;
  }

  FrozenSource source_;
};

// Whether one line of the log has all of these.
bool says(const Mount& mount, const std::vector<std::string>& words) {
  std::istringstream log(mount.log());
  for (std::string line; std::getline(log, line);) {
    bool all = true;
    for (const std::string& word : words) all = all && line.find(word) != std::string::npos;
    if (all) return true;
  }
  return false;
}

TEST_P(HungTest, ARequestThatGetsNoAnswerIsNamedAndSoIsItsEnd) {
  Mount mount(settings("1"));
  ASSERT_TRUE(mount.ok());
  make_dir(mount.mnt("d"));
  make_dir(mount.mnt("e"));
  write_file(mount.mnt("a"), "");
  write_file(mount.mnt("gone"), "content");
  const UniqueFd gone(open(mount.mnt("gone").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(unlink(mount.mnt("gone").c_str()), 0);
  // Who waits for a lock waits for somebody, not for the source.
  write_file(mount.mnt("locked"), "");
  const UniqueFd holder(open(mount.mnt("locked").c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd other(open(mount.mnt("locked").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(flock(holder.get(), LOCK_EX), 0);
  std::thread waiter([&] { EXPECT_EQ(flock(other.get(), LOCK_EX), 0); });
  EXPECT_TRUE(wait_until([&] { return stats(mount).value("lock_waiters", 0) == 1; }));
  EXPECT_EQ(stats(mount).value("hung_requests", 99), 0);

  source_.freeze();
  std::thread creator([&] { EXPECT_EQ(mkdir(mount.mnt("e/n\new").c_str(), 0755), 0); });
  std::thread mover(
      [&] { EXPECT_EQ(rename(mount.mnt("a").c_str(), mount.mnt("d/b").c_str()), 0); });
  std::thread cutter([&] { EXPECT_EQ(ftruncate(gone.get(), 1), 0); });
  const std::string process = "for process " + std::to_string(getpid());
  EXPECT_TRUE(wait_until([&] {
    return says(mount, {"warning", "MKDIR of \"e/n\\x0aew\"", process, "has had no answer for",
                        "waits in", "mkdirat"});
  })) << mount.log();
  EXPECT_TRUE(wait_until([&] {
    return says(mount, {"warning", "SETATTR of \"gone (deleted)\"", "ftruncate"});
  })) << mount.log();
  EXPECT_TRUE(wait_until([&] {
    return says(mount, {"warning", "RENAME", "\"a\" to \"d/b\""});
  })) << mount.log();
  const Json json = stats(mount);
  EXPECT_EQ(json.value("hung_requests", 0), 3) << to_text(json);
  EXPECT_NE(to_text(json.value("notes", Json())).find("3 requests have had no answer"),
            std::string::npos)
      << to_text(json);

  source_.thaw();
  creator.join();
  mover.join();
  cutter.join();
  EXPECT_TRUE(wait_until([&] {
    return says(mount, {"MKDIR of \"e/n\\x0aew\"", "was answered after"}) &&
           says(mount, {"SETATTR of \"gone (deleted)\"", "was answered after"});
  })) << mount.log();
  EXPECT_EQ(stats(mount).value("hung_requests", 99), 0);
  EXPECT_EQ(flock(holder.get(), LOCK_UN), 0);
  waiter.join();
  EXPECT_FALSE(says(mount, {"SETLKW"})) << mount.log();
}

TEST_P(HungTest, NothingIsSaidIfThatIsWanted) {
  Mount mount(settings("0"));
  ASSERT_TRUE(mount.ok());
  source_.freeze();
  std::thread creator([&] { EXPECT_EQ(mkdir(mount.mnt("d").c_str(), 0755), 0); });
  // Longer than the least limit that there is.
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  EXPECT_TRUE(wait_until([&] { return std::chrono::steady_clock::now() > until; }));
  EXPECT_EQ(stats(mount).value("hung_requests", 99), 0);
  source_.thaw();
  creator.join();
  EXPECT_FALSE(says(mount, {"MKDIR"})) << mount.log();
}

// The threads that a rush needs stay; what each keeps open would be missing elsewhere.
TEST_P(HungTest, ARushLeavesNothingOpen) {
  constexpr int kClients = 40;
  Mount mount(settings("1"));
  ASSERT_TRUE(mount.ok());
  std::vector<UniqueFd> files;
  for (int i = 0; i < kClients; ++i) {
    const std::string name = mount.mnt("f" + std::to_string(i));
    files.emplace_back(open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_TRUE(files.back().valid()) << errno_name(errno);
  }
  const std::size_t before = mount.descriptors();
  source_.freeze();
  std::vector<std::thread> clients;
  for (const UniqueFd& file : files) {
    clients.emplace_back([&] { EXPECT_EQ(ftruncate(file.get(), 1), 0) << errno_name(errno); });
  }
  EXPECT_TRUE(wait_until([&] { return stats(mount).value("hung_requests", 0) == kClients; }))
      << to_text(stats(mount));
  source_.thaw();
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(wait_until([&] { return mount.descriptors() <= before + 5; }))
      << before << " -> " << mount.descriptors();
}

INSTANTIATE_TEST_SUITE_P(Served, HungTest, ::testing::Values("dev", "dev_recover", "uring"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace passthroughfs::test
