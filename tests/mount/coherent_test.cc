// SPDX-License-Identifier: Apache-2.0
//
// cache=coherent: the kernel believes what it was told until somebody changes it in the source.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/json.h"
#include "support/mount_fixture.h"
#include "support/run_as.h"
#include "support/small_source.h"

namespace passthroughfs::test {
namespace {

namespace fs = std::filesystem;

// Everything that a name shows: of a directory what is in it, of a file its content.
std::string look(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return errno_name(errno);
  std::string out = std::to_string(st.st_ino) + " mode " + std::to_string(st.st_mode) + " links " +
                    std::to_string(st.st_nlink) + " owner " + std::to_string(st.st_uid) + ":" +
                    std::to_string(st.st_gid) + " size " + std::to_string(st.st_size) +
                    " changed " + std::to_string(st.st_mtim.tv_sec) + "." +
                    std::to_string(st.st_mtim.tv_nsec) + " " + std::to_string(st.st_ctim.tv_sec) +
                    "." + std::to_string(st.st_ctim.tv_nsec);
  std::error_code gone;
  if (S_ISDIR(st.st_mode)) {
    std::map<std::string, std::string> names;
    for (const auto& entry : fs::directory_iterator(path, gone)) {
      names[entry.path().filename().string()] = entry.is_directory(gone) ? "/" : "";
    }
    for (const auto& [name, kind] : names) out += " " + name + kind;
  } else if (S_ISLNK(st.st_mode)) {
    out += " to " + fs::read_symlink(path, gone).string();
  } else {
    out += " has " + read_all(path);
  }
  return out;
}

// Asks for nothing but whether it is there and its attributes.
void touch(const std::string& path) {
  struct stat st {};
  (void)lstat(path.c_str(), &st);
}

class CoherentTest : public MountTest {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
    ASSERT_EQ(stats(mount()).value("cache", ""), "coherent") << stats(mount()).dump();
  }
  // On tmpfs: that can be watched on every machine.
  MountSettings settings() const override {
    return {.options = {"cache=coherent"}, .medium = TempTree::Medium::kMemory};
  }

  // The kernel knows all of it, and not only for a second: then somebody changes the source.
  void expect_seen(const std::vector<std::string>& names, const std::function<void()>& change) {
    for (int i = 0; i < 2; ++i) {
      for (const std::string& name : names) {
        ASSERT_TRUE(wait_until([&] { return look(mnt(name)) == look(source(name)); })) << name;
      }
    }
    change();
    for (const std::string& name : names) {
      EXPECT_TRUE(wait_until([&] { return look(mnt(name)) == look(source(name)); }))
          << name << "\nhere   " << look(mnt(name)) << "\nsource " << look(source(name));
    }
  }
  // All that others did before has been passed on: what came in one piece with the first event is
  // when the second one is seen. Where nobody looks otherwise, as that is dropped a bit later.
  static void wait_for_events(const Mount& mount) {
    make_dir(mount.source("aside"));
    for (const char* name : {"aside/1", "aside/2"}) {
      EXPECT_LT(access(mount.mnt(name).c_str(), F_OK), 0);
      make_dir(mount.source(name));
      EXPECT_TRUE(wait_until([&] { return access(mount.mnt(name).c_str(), F_OK) == 0; }));
    }
  }
  // The kernel knows all that it is asked for. `each`: requests that every look costs.
  static void settle(const Mount& mount, const std::function<void()>& looks, std::uint64_t each) {
    EXPECT_TRUE(wait_until([&] {
      const std::uint64_t before = asked(mount);
      looks();
      return asked(mount) - before <= each;
    }));
  }
  static std::uint64_t asked(const Mount& mount) {
    return mount.requests("LOOKUP") + mount.requests("GETATTR") + mount.requests("READLINK");
  }
};

TEST_F(CoherentTest, WhatIsKnownIsNotAskedForAgain) {
  // On which nobody else does anything: what is looked up while others do is believed for a second.
  const SmallSource small("size=4m");
  Mount own({.options = {"cache=coherent"}, .source = small.path()});
  ASSERT_TRUE(own.ok());
  make_dir(own.source("d"));
  write_file(own.source("d/f"), "content");
  ASSERT_EQ(symlink("where", own.source("d/l").c_str()), 0);
  const auto look_at_all = [&] {
    (void)fs::read_symlink(own.mnt("d/l"));
    for (const char* name : {"d/f", "d/l", "d/absent"}) touch(own.mnt(name));
  };
  wait_for_events(own);
  settle(own, look_at_all, 1);  // who has followed a link asks for its access time
  // Longer than with cache=normal, where it is a second.
  const auto later = std::chrono::steady_clock::now() + std::chrono::milliseconds(1300);
  const std::uint64_t before = asked(own), lookups = own.requests("LOOKUP");
  EXPECT_TRUE(wait_until([&] { return std::chrono::steady_clock::now() > later; }));
  look_at_all();
  EXPECT_LE(asked(own) - before, 1U);
  EXPECT_EQ(own.requests("LOOKUP"), lookups);
}

TEST_F(CoherentTest, NamesThatOthersMakeAndRemoveAreSeen) {
  make_dir(source("d"));
  write_file(source("d/f"), "content");
  const std::vector<std::string> all = {"d", "d/f", "d/g", "d/sub", "d/sub/deep", "."};
  expect_seen(all, [&] { write_file(source("d/g"), "new"); });
  expect_seen(all, [&] { make_dir(source("d/sub")); });
  expect_seen(all, [&] { write_file(source("d/sub/deep"), "deep"); });
  expect_seen(all, [&] { EXPECT_EQ(unlink(source("d/f").c_str()), 0); });
  expect_seen(all, [&] { ASSERT_EQ(symlink("g", source("d/f").c_str()), 0); });
  expect_seen(all, [&] {
    EXPECT_EQ(unlink(source("d/f").c_str()), 0);
    ASSERT_EQ(symlink("other", source("d/f").c_str()), 0);
  });
  expect_seen(all, [&] {
    EXPECT_EQ(unlink(source("d/f").c_str()), 0);
    make_dir(source("d/f"));
  });
  expect_seen(all, [&] { EXPECT_EQ(link(source("d/g").c_str(), source("d/h").c_str()), 0); });
  expect_seen(all, [&] { fs::remove_all(source("d/sub")); });
  expect_seen(all, [&] { fs::remove_all(source("d")); });
}

TEST_F(CoherentTest, WhatOthersRenameIsSeen) {
  for (const char* name : {"a", "b", "a/in"}) make_dir(source(name));
  for (const char* name : {"a/f", "a/in/g", "b/h"}) write_file(source(name), name);
  const std::vector<std::string> all = {"a",      "b",   "a/f", "a/new", "a/in",
                                        "a/in/g", "b/h", "b/f", "b/in",  "b/in/g"};
  const auto move = [&](const char* from, const char* to, unsigned flags = 0) {
    EXPECT_EQ(renameat2(AT_FDCWD, source(from).c_str(), AT_FDCWD, source(to).c_str(), flags), 0);
  };
  expect_seen(all, [&] { move("a/f", "a/new"); });
  expect_seen(all, [&] { move("a/new", "b/f"); });
  expect_seen(all, [&] { move("b/f", "b/h"); });
  expect_seen(all, [&] { move("a/in", "b/in"); });
  expect_seen(all, [&] { move("a", "b", RENAME_EXCHANGE); });
}

TEST_F(CoherentTest, AttributesAndContentThatOthersChangeAreSeen) {
  write_file(source("f"), "content");
  make_dir(source("d"));
  ASSERT_EQ(link(source("f").c_str(), source("d/other").c_str()), 0);
  const std::vector<std::string> all = {"f", "d", "d/other"};
  const auto file = source("f");
  expect_seen(all, [&] { EXPECT_EQ(chmod(file.c_str(), 0600), 0); });
  expect_seen(all, [&] { EXPECT_EQ(chmod(source("d").c_str(), 0700), 0); });
  expect_seen(all, [&] { EXPECT_EQ(chown(file.c_str(), 1000, 1000), 0); });
  expect_seen(all, [&] { EXPECT_EQ(truncate(file.c_str(), 3), 0); });
  expect_seen(all, [&] { write_file(file, "other content"); });
  expect_seen(all, [&] {
    const UniqueFd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    EXPECT_EQ(pwrite(fd.get(), "OTHER", 5, 0), 5);
  });
  expect_seen(all, [&] {
    const std::array<timespec, 2> times{timespec{1, 2}, timespec{3, 4}};
    EXPECT_EQ(utimensat(AT_FDCWD, file.c_str(), times.data(), 0), 0);
  });
  expect_seen(all, [&] { EXPECT_EQ(unlink(source("d/other").c_str()), 0); });
}

// The descriptor is the inode, whatever has become of its name.
TEST_F(CoherentTest, OpenFilesShowWhatOthersDo) {
  write_file(source("f"), "content");
  const UniqueFd fd(open(mnt("f").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  std::string content(7, ' ');
  ASSERT_EQ(pread(fd.get(), content.data(), 7, 0), 7);
  write_file(source("f"), "CONTENT");
  EXPECT_TRUE(wait_until([&] {
    return pread(fd.get(), content.data(), 7, 0) == 7 && content == "CONTENT";
  })) << content;
  const auto links = [&] {
    struct stat st {};
    return fstat(fd.get(), &st) == 0 ? st.st_nlink : 99;
  };
  EXPECT_EQ(links(), 1U);
  EXPECT_EQ(unlink(source("f").c_str()), 0);
  EXPECT_TRUE(wait_until([&] { return links() == 0; }));
}

TEST_F(CoherentTest, OwnChangesAreNotToldBack) {
  make_dir(mnt("d"));
  for (int i = 0; i < 50; ++i) write_file(mnt("d/" + std::to_string(i)), "content");
  const auto look_at_all = [&] {
    for (int i = 0; i < 50; ++i) touch(mnt("d/" + std::to_string(i)));
    touch(mnt("d"));
  };
  look_at_all();
  wait_for_events(mount());
  settle(mount(), look_at_all, 0);
}

TEST_F(CoherentTest, WhatIsMountedInsideTheSourceIsAskedForAsUsual) {
  const SmallSource small("size=4m");
  make_dir(small.path() + "/inside");
  ASSERT_EQ(::mount("inside", (small.path() + "/inside").c_str(), "tmpfs", 0, "size=1m"), 0);
  Mount own({.options = {"cache=coherent"}, .source = small.path()});
  ASSERT_TRUE(own.ok());
  EXPECT_EQ(stats(own).value("cache", ""), "coherent");
  const std::string here = own.mnt("inside/f"), there = own.source("inside/f");
  const auto are_equal = [&] {  // but for the inode's number, which is the mount's
    const std::string one = look(here), other = look(there);
    return one.substr(one.find(" mode")) == other.substr(other.find(" mode"));
  };
  write_file(there, "content");
  EXPECT_TRUE(wait_until([&] { return look(here) != "ENOENT" && are_equal(); }));
  EXPECT_EQ(chmod(there.c_str(), 0600), 0);
  EXPECT_TRUE(wait_until(are_equal));
  EXPECT_EQ(unlink(there.c_str()), 0);
  EXPECT_TRUE(wait_until([&] { return look(here) == "ENOENT"; }));
}

TEST_F(CoherentTest, ASourceWhoseChangesNobodyTellsIsAskedAsUsual) {
  Mount above({.options = {"cache=coherent"}, .source = mount().mnt()});
  ASSERT_TRUE(above.ok());
  const Json said = stats(above);
  EXPECT_EQ(said.value("cache", ""), "normal");
  EXPECT_NE(said.dump().find("cache=coherent: serving with normal"), std::string::npos) << said;
  write_file(mnt("f"), "content");
  EXPECT_TRUE(wait_until([&] { return look(above.mnt("f")) == look(mnt("f")); }));
}

TEST_F(CoherentTest, ThePageOfAFileThatOthersMapIsSeenWhenTheyEnd) {
  write_file(source("f"), std::string(4096, 'a'));
  (void)look(mnt("f"));
  in_child([&] {
    const UniqueFd fd(open(source("f").c_str(), O_RDWR | O_CLOEXEC));
    auto* const page =
        static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    ASSERT_NE(page, MAP_FAILED);
    page[0] = 'b';
  });
  EXPECT_TRUE(wait_until([&] { return look(mnt("f")) == look(source("f")); }));
}

// With recover=on, as it is by default.
class CoherentServers : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
  }
};

TEST_F(CoherentServers, WhatHappensWhileOneFollowsAnotherIsSeen) {
  Mount mount({.options = {"recover=on", "cache=coherent"},
               .medium = TempTree::Medium::kMemory,
               .server_dies = true});
  ASSERT_TRUE(mount.ok());
  const auto starts = [&] { return stats(mount).value("server_starts", 0); };
  for (int i = 0; i < 10; ++i) {
    const std::string name = "f" + std::to_string(i);
    EXPECT_EQ(look(mount.mnt(name)), "ENOENT");  // for ever
    write_file(mount.source(name + "kept"), "content");
    EXPECT_TRUE(wait_until([&] { return access(mount.mnt(name + "kept").c_str(), F_OK) == 0; }));
    const int before = starts();
    // At once before, while there is none, and when the next one comes.
    EXPECT_EQ(chmod(mount.source(name + "kept").c_str(), 0600), 0);
    ASSERT_EQ(kill(stats(mount).value("server_pid", 0), SIGKILL), 0);
    write_file(mount.source(name), "content");
    EXPECT_TRUE(wait_until([&] { return starts() > before; })) << mount.log();
    for (const std::string& seen : {name, name + "kept"}) {
      EXPECT_TRUE(wait_until([&] { return look(mount.mnt(seen)) == look(mount.source(seen)); }))
          << seen << " after " << i << " deaths\n"
          << look(mount.mnt(seen)) << "\n"
          << look(mount.source(seen));
    }
    EXPECT_EQ(stats(mount).value("cache", ""), "coherent");
  }
}

TEST_F(CoherentServers, AnotherProgramGoesOn) {
  Mount mount({.options = {"recover=on", "cache=coherent"}, .medium = TempTree::Medium::kMemory});
  ASSERT_TRUE(mount.ok());
  EXPECT_EQ(look(mount.mnt("f")), "ENOENT");
  const ProgramResult upgraded = mount.command({"upgrade", mount.mnt()});
  ASSERT_EQ(upgraded.exit_code, 0) << upgraded.err;
  EXPECT_EQ(stats(mount).value("cache", ""), "coherent");
  const std::uint64_t before = mount.requests("LOOKUP");
  EXPECT_EQ(look(mount.mnt("f")), "ENOENT");
  EXPECT_EQ(mount.requests("LOOKUP"), before) << "it was not forgotten";
  write_file(mount.source("f"), "content");
  EXPECT_TRUE(wait_until([&] { return look(mount.mnt("f")) == look(mount.source("f")); }));
}

}  // namespace
}  // namespace passthroughfs::test
