// SPDX-License-Identifier: Apache-2.0
#include "session/journal_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/fd.h"
#include "support/wait_until.h"

namespace passthroughfs {
namespace {

using std::filesystem::exists;

// Another process that has made one, with a file in it, and waits to be killed.
class Maker {
 public:
  Maker() {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    UniqueFd read_end(ends[0]), write_end(ends[1]);
    process_ = fork();
    if (process_ == 0) {
      auto made = MemoryDirectory::create();
      if (!made) _exit(1);
      std::ofstream(made->path() + "/journal") << "what was recorded";
      (void)!write(write_end.get(), made->path().data(), made->path().size());
      write_end.reset();
      for (;;) pause();
    }
    write_end.reset();
    std::array<char, 256> text{};
    for (ssize_t got = 1; got > 0;) {
      got = read(read_end.get(), text.data(), text.size());
      if (got > 0) path_.append(text.data(), static_cast<std::size_t>(got));
    }
  }
  ~Maker() { end(); }
  Maker(const Maker&) = delete;
  Maker& operator=(const Maker&) = delete;

  void end() {
    if (process_ <= 0) return;
    EXPECT_EQ(kill(process_, SIGKILL), 0);
    EXPECT_EQ(waitpid(process_, nullptr, 0), process_);
    process_ = -1;
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  pid_t process_ = -1;
  std::string path_;
};

TEST(MemoryDirectory, OfAKilledProcessIsRemovedByTheNextOne) {
  Maker killed, alive;
  ASSERT_TRUE(exists(killed.path() + "/journal"));
  killed.end();
  std::string own;
  {
    auto next = MemoryDirectory::create();
    ASSERT_TRUE(next);
    own = next->path();
    EXPECT_TRUE(exists(own));
    // By this one, or by another test that begins just now.
    EXPECT_TRUE(test::wait_until([&] { return !exists(killed.path()); }));
    EXPECT_TRUE(exists(alive.path() + "/journal"));
  }
  EXPECT_FALSE(exists(own));
  EXPECT_TRUE(exists(alive.path() + "/journal"));
  alive.end();
  ASSERT_TRUE(MemoryDirectory::create());  // leaves nothing behind
}

TEST(MemoryDirectory, IsInUseForAsLongAsSomebodyHasItsDescriptor) {
  auto made = MemoryDirectory::create();
  ASSERT_TRUE(made);
  const std::string path = made->path();
  auto handed = duplicate(made->lock());
  ASSERT_TRUE(handed);
  const auto is_left_alone = [&] { return MemoryDirectory::create() && exists(path); };
  {
    // By a process that does not get as far as to use it.
    auto lock = duplicate(made->lock());
    ASSERT_TRUE(lock);
    const MemoryDirectory adopted = MemoryDirectory::adopt(path, std::move(*lock));
    EXPECT_TRUE(is_left_alone());
  }
  EXPECT_TRUE(is_left_alone());
  MemoryDirectory adopted = MemoryDirectory::adopt(path, std::move(*handed));
  adopted.remove();
  EXPECT_FALSE(exists(path));
}

}  // namespace
}  // namespace passthroughfs
