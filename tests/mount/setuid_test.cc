// SPDX-License-Identifier: Apache-2.0
//
// Setuid, setgid and file capabilities go when somebody else changes the file, however he does it,
// exactly as they do natively.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

constexpr gid_t kTeam = 50010;
constexpr auto kSameUser = static_cast<uid_t>(-1);
constexpr auto kSameGroup = static_cast<gid_t>(-1);

struct Change {
  const char* name;
  int flags;  // of the open that precedes it
  std::function<long(int fd, const std::string& path)> make;
};

// For the names that ctest shows.
void PrintTo(const Change* change, std::ostream* out) { *out << change->name; }

const char* aligned_page() {
  static void* page = std::aligned_alloc(4096, 4096);
  return static_cast<const char*>(page);
}

const Change kChanges[] = {
    {"write", O_WRONLY, [](int fd, auto&) { return write(fd, "x", 1); }},
    {"append", O_WRONLY | O_APPEND, [](int fd, auto&) { return write(fd, "x", 1); }},
    {"pwrite", O_RDWR, [](int fd, auto&) { return pwrite(fd, "x", 1, 3); }},
    {"empty write", O_WRONLY, [](int fd, auto&) { return write(fd, "x", 0); }},
    {"synchronous write", O_WRONLY | O_SYNC, [](int fd, auto&) { return write(fd, "x", 1); }},
    {"direct write", O_WRONLY | O_DIRECT,
     [](int fd, auto&) { return pwrite(fd, aligned_page(), 4096, 0); }},
    {"ftruncate", O_WRONLY, [](int fd, auto&) { return ftruncate(fd, 5); }},
    {"ftruncate to the same size", O_WRONLY, [](int fd, auto&) { return ftruncate(fd, 10); }},
    {"truncate", O_RDONLY, [](int, auto& path) { return truncate(path.c_str(), 5); }},
    {"O_TRUNC", O_RDONLY, [](int, auto& path) { return try_open(path, O_WRONLY | O_TRUNC); }},
    {"fallocate", O_WRONLY, [](int fd, auto&) { return fallocate(fd, 0, 0, 100); }},
    {"keep size", O_WRONLY,
     [](int fd, auto&) { return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100); }},
    {"punch", O_WRONLY,
     [](int fd, auto&) { return fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 5); }},
    {"zero", O_WRONLY, [](int fd, auto&) { return fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 5); }},
    {"copy_file_range", O_WRONLY,
     [](int fd, auto& path) {
       const UniqueFd from(open((path + ".from").c_str(), O_RDONLY | O_CLOEXEC));
       return copy_file_range(from.get(), nullptr, fd, nullptr, 7, 0);
     }},
    {"chown to its owner", O_RDONLY,
     [](int, auto& path) { return chown(path.c_str(), kAlice.uid, kSameGroup); }},
    {"chgrp", O_RDONLY, [](int, auto& path) { return chown(path.c_str(), kSameUser, kTeam); }},
    {"chmod", O_RDONLY, [](int, auto& path) { return chmod(path.c_str(), 06755); }},
    {"utimes", O_RDONLY,
     [](int, auto& path) { return utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }},
    {"setxattr", O_RDONLY,
     [](int, auto& path) { return setxattr(path.c_str(), "user.x", "1", 1, 0); }},
    {"link", O_RDONLY, [](int, auto& path) { return link(path.c_str(), (path + ".l").c_str()); }},
    {"read", O_RDONLY,
     [](int fd, auto&) {
       char byte = 0;
       return read(fd, &byte, 1);
     }},
    {"two writes", O_WRONLY,
     [](int fd, auto& path) {
       struct stat st {};
       return write(fd, "x", 1) + stat(path.c_str(), &st) + write(fd, "y", 1);
     }},
    {"mapped store", O_RDWR,
     [](int fd, auto&) {
       void* map = mmap(nullptr, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
       if (map == MAP_FAILED) return -1;
       static_cast<char*>(map)[0] = 'x';
       return msync(map, 10, MS_SYNC) + munmap(map, 10);
     }},
};

class SetuidTest : public MountTest, public ::testing::WithParamInterface<const Change*> {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
  }

  // What becomes of each mode when each user makes the change, in a file of alice's and team's.
  void compare(bool capability) {
    const Change& change = *GetParam();
    const Trace native = same([&](Trace& trace, const std::string& dir) {
      make_dir(dir + "/d", 0777);
      const std::string path = dir + "/d/f";
      write_file(path + ".from", "from from from");
      for (const Identity& who : {kAlice, Identity{kAlice.uid, kAlice.gid, {kTeam}}, kBob,
                                  Identity{kBob.uid, kBob.gid, {kTeam}}, kRoot}) {
        for (const mode_t mode :
             {06666U, 06777U, 04666U, 02666U, 02676U, 06755U, 04755U, 02775U, 02745U, 0777U}) {
          if (capability && mode != 0777 && mode != 06777) {
            continue;
          }
          (void)unlink(path.c_str());
          (void)unlink((path + ".l").c_str());
          write_file(path, "0123456789");
          ASSERT_EQ(chown(path.c_str(), kAlice.uid, kTeam), 0);
          ASSERT_EQ(chmod(path.c_str(), mode), 0);
          if (capability) {
            const char value[20] = {1, 0, 0, 2, 0, 0x20};
            ASSERT_EQ(setxattr(path.c_str(), "security.capability", value, sizeof value, 0), 0);
          }
          run_as(who, trace, [&](Trace& t) {
            const UniqueFd fd(t.ok("open", open(path.c_str(), change.flags | O_CLOEXEC)));
            t.num(change.name, change.make(fd.get(), path));
          });
          trace.stat("stat", path);
          trace.num("capability", getxattr(path.c_str(), "security.capability", nullptr, 0));
        }
      }
    });
    EXPECT_GT(native.count("open", "ok"), 0);
  }
};

TEST_P(SetuidTest, BitsGoAsNatively) { compare(false); }

TEST_P(SetuidTest, CapabilitiesGoAsNatively) {
  const bool by_daemon = mount().has_option("io=daemon") || mount().has_option("handles=stateless");
  if (GetParam()->name == std::string_view("mapped store") && by_daemon && !native_run()) {
    GTEST_SKIP() << "a stored page is written back by a write, which takes capabilities away";
  }
  compare(true);
}

// The source must have lost them too: what the mount shows could come from the kernel's cache.
TEST_P(SetuidTest, MountAndSourceAgree) {
  const Change& change = *GetParam();
  make_dir(source("d"), 0777);
  write_file(source("d/f"), "0123456789");
  write_file(source("d/f.from"), "from from from");
  ASSERT_EQ(chmod(source("d/f").c_str(), 06777), 0);
  run_as(kBob, [&] {
    const UniqueFd fd(open(mnt("d/f").c_str(), change.flags | O_CLOEXEC));
    ASSERT_TRUE(fd.valid());
    (void)change.make(fd.get(), mnt("d/f"));
  });
  struct stat one {};
  struct stat two {};
  ASSERT_EQ(stat(mnt("d/f").c_str(), &one), 0);
  ASSERT_EQ(stat(source("d/f").c_str(), &two), 0);
  EXPECT_EQ(one.st_mode, two.st_mode);
}

std::string test_name(const ::testing::TestParamInfo<const Change*>& info) {
  std::string name;
  for (const char* c = info.param->name; *c != '\0'; ++c) {
    if (isalnum(static_cast<unsigned char>(*c)) != 0) {
      name += *c;
    }
  }
  return name;
}

std::vector<const Change*> every_change() {
  std::vector<const Change*> all;
  for (const Change& change : kChanges) {
    all.push_back(&change);
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Changes, SetuidTest, ::testing::ValuesIn(every_change()), test_name);

}  // namespace
}  // namespace passthroughfs::test
