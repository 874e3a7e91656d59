// SPDX-License-Identifier: Apache-2.0
//
// A server is killed while it tells the kernel to drop pages that a client's request holds. Its
// thread does not end before that request is answered, and it is the next server that answers.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "base/thread.h"
#include "support/json.h"
#include "support/mount_fixture.h"
#include "support/stop_process.h"

namespace passthroughfs::test {
namespace {

struct Death {
  const char* name;
  int signal;
  bool guardian;  // dies before
};

// Whether a thread of this name is in a call that nothing ends.
bool is_stuck(pid_t process, std::string_view name) {
  std::error_code gone;
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    const std::string stat = read_all(task.path().string() + "/stat");
    if (stat.find(" (" + std::string(name) + ") D ") != std::string::npos) return true;
  }
  return false;
}

// A process, so that no program which this one starts has the file open: to close it is a request.
class Reader {
 public:
  explicit Reader(const std::string& path) {
    std::array<int, 2> go{}, said{};
    EXPECT_EQ(pipe2(go.data(), O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(said.data(), O_CLOEXEC), 0);
    UniqueFd go_read(go[0]), said_write(said[1]);
    go_ = UniqueFd(go[1]);
    said_ = UniqueFd(said[0]);
    process_ = fork();
    if (process_ == 0) {
      const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
      char byte = 0;
      (void)!write(said_write.get(), "o", 1);
      if (read(go_read.get(), &byte, 1) != 1) _exit(1);
      std::array<char, 16> content{};
      const ssize_t got = pread(file, content.data(), content.size(), 0);
      if (got > 0) (void)!write(said_write.get(), content.data(), static_cast<size_t>(got));
      _exit(0);
    }
    char byte = 0;
    EXPECT_EQ(read(said_.get(), &byte, 1), 1);
  }
  ~Reader() {
    go_.reset();
    if (!ended_) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
    }
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void go() { EXPECT_EQ(write(go_.get(), "g", 1), 1); }
  bool is_done() {
    ended_ = ended_ || waitpid(process_, nullptr, WNOHANG) == process_;
    return ended_;
  }
  bool has_read(std::string_view wanted) {
    std::array<char, 16> content{};
    const ssize_t got = read(said_.get(), content.data(), content.size());
    return got > 0 && std::string_view(content.data(), static_cast<size_t>(got)) == wanted;
  }

 private:
  pid_t process_ = -1;
  UniqueFd go_, said_;
  bool ended_ = false;
};

// The source is another mount, whose server is stopped for a while: what waits for that can be
// killed, unlike what waits for a disk.
class DroppingTest : public ::testing::TestWithParam<Death> {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
  }
  static MountSettings settings(const Mount& below) {
    MountSettings out{.options = {"recover=on", "journal=off", "io=daemon", "cache=forever",
                                  "hung_after=1", "replace_after=0"},
                      .source = below.mnt(),
                      .server_dies = true,
                      .broken_on_purpose = GetParam().guardian};
    for (const std::string name : {"ASAN_OPTIONS", "TSAN_OPTIONS"}) {  // the signal is meant
      const char* const set = getenv(name.c_str());
      out.environment.push_back(name + "=" + (set == nullptr ? "" : set) + ":handle_segv=0");
    }
    return out;
  }
};

TEST_P(DroppingTest, TheNextServerComesThoughTheLastOneHasNotEnded) {
  Mount below({.options = {"recover=off", "journal=off", "io=daemon"}});
  ASSERT_TRUE(below.ok());
  write_file(below.source("f"), "content");
  Mount mount(settings(below));
  ASSERT_TRUE(mount.ok());
  Reader reader(mount.mnt("f"));
  const auto number = [&](const char* field) { return stats(mount).value(field, 0); };
  const auto next_serves = [&](int starts) {
    return wait_until([&] { return number("server_starts") == starts; });
  };

  stop_process(below.pid());
  reader.go();
  // Whoever takes over drops the pages of open files, and the reader holds one.
  pid_t stuck = 0;
  const bool prepared = [&] {
    if (!wait_until([&] { return number("hung_requests") == 1; })) return false;
    if (kill(number("server_pid"), SIGKILL) != 0 || !next_serves(2)) return false;
    stuck = number("server_pid");
    return wait_until(
        [&] { return number("hung_requests") == 1 && is_stuck(stuck, kNotifierName); });
  }();
  EXPECT_TRUE(prepared) << mount.log();
  if (prepared && GetParam().guardian) {
    EXPECT_TRUE(wait_until([&] { return number("deputy_pid") > 0; }));
    EXPECT_EQ(kill(mount.pid(), SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return number("guardian_pid") != mount.pid(); }));
  }
  if (prepared) {
    EXPECT_EQ(kill(stuck, GetParam().signal), 0);
    const bool goes_on = next_serves(3);
    EXPECT_TRUE(goes_on) << mount.log();
    EXPECT_TRUE(is_stuck(stuck, kNotifierName)) << "then nothing is proved";
    if (!goes_on) mount.abort();
  }
  EXPECT_EQ(kill(below.pid(), SIGCONT), 0);
  if (!wait_until([&] { return reader.is_done(); })) mount.abort();
  EXPECT_TRUE(wait_until([&] { return reader.is_done(); }));
  EXPECT_TRUE(reader.has_read("content"));
  if (GetParam().guardian) return;
  EXPECT_TRUE(wait_until([&] { return kill(stuck, 0) != 0; })) << "nobody waits for its end";
  EXPECT_EQ(number("server_starts"), 3) << mount.log();
}

INSTANTIATE_TEST_SUITE_P(AServer, DroppingTest,
                         ::testing::Values(Death{"IsKilled", SIGKILL, false},
                                           Death{"Crashes", SIGSEGV, false},
                                           Death{"DiesAfterTheGuardian", SIGKILL, true}),
                         [](const auto& death) { return death.param.name; });

}  // namespace
}  // namespace passthroughfs::test
