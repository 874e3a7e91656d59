// SPDX-License-Identifier: Apache-2.0
//
// git with the hook says what git without it says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

using testing::HasSubstr;

class FsmonitorTest : public MountTest {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
    // Below the mount's root, and with a blank, as work trees are.
    make_dir(mnt("projects"));
    make_dir(mnt("projects/the tree"));
    ASSERT_EQ(git({"init", "-q"}).exit_code, 0);
  }
  std::string tree(const std::string& name = "") const { return mnt("projects/the tree/" + name); }
  // Where git is run: the work tree, by the path that it is known by.
  std::string top() const { return top_.empty() ? tree() : top_; }

  ProgramResult run(std::vector<std::string> arguments) const {
    auto environment = mount().environment();
    environment.insert(environment.end(),
                       {"PATH=" + std::string(getenv("PATH")), "HOME=" + mount().tree().path(),
                        "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
                        "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b"});
    return run_program(arguments, environment);
  }
  ProgramResult git(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all{"git", "-c", "safe.directory=*", "-C", top()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run(all);
  }
  void use_hook() const {
    ASSERT_EQ(git({"config", "core.fsmonitor", "'" + program_path() + "' fsmonitor"}).exit_code, 0);
    ASSERT_EQ(git({"config", "core.untrackedCache", "true"}).exit_code, 0);
  }
  // What the hook leads git to say, which must be what git finds by looking at everything.
  std::string status() const {
    const ProgramResult with = git({"status", "--porcelain"});
    // Which must not write down that there is no hook: git would ask for everything the next time.
    const ProgramResult without = git({"--no-optional-locks", "-c", "core.fsmonitor=false", "-c",
                                       "core.untrackedCache=false", "status", "--porcelain"});
    EXPECT_EQ(with.err, "");
    EXPECT_EQ(with.out, without.out);
    return with.out;
  }

  std::string top_;
};

// `mount --bind FROM TO`, for a scope.
class BindMount {
 public:
  BindMount(const std::string& from, std::string to) : to_(std::move(to)) {
    done_ = ::mount(from.c_str(), to_.c_str(), nullptr, MS_BIND, nullptr) == 0;
  }
  ~BindMount() {
    if (done_) (void)umount2(to_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
  BindMount(const BindMount&) = delete;
  BindMount& operator=(const BindMount&) = delete;
  bool done() const { return done_; }

 private:
  const std::string to_;
  bool done_ = false;
};

TEST_F(FsmonitorTest, StatusIsTheSameAfterAnyEdits) {
  std::mt19937 random(1);
  const auto name = [&] {
    return std::string(1, static_cast<char>('a' + random() % 4)) + "/f" +
           std::to_string(random() % 8);
  };
  for (const char* directory : {"a", "b", "c", "d"}) make_dir(tree(directory));
  for (int i = 0; i < 40; ++i) write_file(tree(name()), "1");
  ASSERT_EQ(git({"add", "."}).exit_code, 0);
  ASSERT_EQ(git({"commit", "-qm", "first"}).exit_code, 0);
  use_hook();
  EXPECT_EQ(status(), "");
  for (int round = 0; round < 25; ++round) {
    for (int edit = 0; edit < 4; ++edit) {
      switch (random() % 7) {
        case 0: (void)unlink(tree(name()).c_str()); break;
        case 1: (void)rename(tree(name()).c_str(), tree(name()).c_str()); break;
        case 2: (void)rename(tree("a").c_str(), tree("e").c_str()); break;
        case 3: (void)rename(tree("e").c_str(), tree("a").c_str()); break;
        case 4: (void)chmod(tree(name()).c_str(), random() % 2 == 0 ? 0755 : 0644); break;
        default: try { write_file(tree(name()), std::to_string(round));
          } catch (const std::system_error&) {
            // its directory is elsewhere
          }
      }
    }
    SCOPED_TRACE(round);
    (void)status();
    if (round % 10 == 9) {
      ASSERT_EQ(git({"add", "-A"}).exit_code, 0);
      ASSERT_EQ(git({"commit", "-qm", "more", "--allow-empty"}).exit_code, 0);
    }
  }
}

TEST_F(FsmonitorTest, TheWorkTreeMovedAwayAndBackIsStillRight) {
  write_file(tree("a"), "1");
  ASSERT_EQ(git({"add", "."}).exit_code, 0);
  ASSERT_EQ(git({"commit", "-qm", "first"}).exit_code, 0);
  use_hook();
  EXPECT_EQ(status(), "");
  ASSERT_EQ(rename(mnt("projects").c_str(), mnt("elsewhere").c_str()), 0);
  write_file(mnt("elsewhere/the tree/a"), "22");
  ASSERT_EQ(rename(mnt("elsewhere").c_str(), mnt("projects").c_str()), 0);
  EXPECT_EQ(status(), " M a\n");
}

// What is told is by paths from the mount's root, which cannot be seen there.
TEST_F(FsmonitorTest, AWorkTreeInABindMountIsRight) {
  make_dir(tree("sub"));
  write_file(tree("a"), "1");
  write_file(tree("sub/b"), "1");
  ASSERT_EQ(git({"add", "."}).exit_code, 0);
  ASSERT_EQ(git({"commit", "-qm", "first"}).exit_code, 0);
  use_hook();
  const std::string elsewhere = mount().tree().make_dir("else where");
  // The work tree itself, and a directory above it.
  for (const std::string below : {"projects/the tree", "projects"}) {
    SCOPED_TRACE(below);
    const BindMount bound(mnt(below), elsewhere);
    ASSERT_TRUE(bound.done());
    top_ = elsewhere + std::string("projects/the tree").substr(below.size());
    EXPECT_EQ(status(), "");
    EXPECT_EQ(status(), "");
    write_file(tree("a"), "22");
    EXPECT_EQ(status(), " M a\n");
    write_file(top() + "/sub/b", "333");
    write_file(top() + "/new", "1");
    EXPECT_EQ(status(), " M a\n M sub/b\n?? new\n");
    ASSERT_EQ(git({"add", "-A"}).exit_code, 0);
    ASSERT_EQ(git({"commit", "-qm", below}).exit_code, 0);
    EXPECT_EQ(status(), "");
    // Everything is put back behind git's back.
    write_file(tree("a"), "1");
    write_file(tree("sub/b"), "1");
    ASSERT_EQ(unlink(tree("new").c_str()), 0);
    EXPECT_EQ(status(), " M a\n D new\n M sub/b\n");
    ASSERT_EQ(git({"add", "-A"}).exit_code, 0);
    ASSERT_EQ(git({"commit", "-qm", "back"}).exit_code, 0);
  }
}

TEST_F(FsmonitorTest, OtherVersionsAndOtherPlacesAreRefused) {
  const ProgramResult version = mount().command({"fsmonitor", "1", "0"});
  EXPECT_EQ(version.exit_code, 1);
  EXPECT_THAT(version.err, HasSubstr("version 2"));
  const ProgramResult place = mount().command({"fsmonitor", "2", "token"});
  EXPECT_EQ(place.exit_code, 1);
}

}  // namespace
}  // namespace passthroughfs::test
