// SPDX-License-Identifier: Apache-2.0
//
// What other parts of the system make of a mount: overlayfs on top of it, file handles, and access
// times in the ways of reading that are no read(2).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class ConsumersTest : public MountTest {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
  }
};

// An overlay whose changes are kept in `changes`/upper.
class Overlay {
 public:
  Overlay(const std::string& lower, const std::string& changes, const std::string& at) : at_(at) {
    const std::string options =
        "lowerdir=" + lower + ",upperdir=" + changes + "/upper,workdir=" + changes + "/work";
    mounted_ = ::mount("overlay", at.c_str(), "overlay", 0, options.c_str()) == 0;
    error_ = mounted_ ? 0 : errno;
  }
  ~Overlay() {
    if (mounted_ && umount2(at_.c_str(), 0) != 0) {
      ADD_FAILURE() << "cannot unmount the overlay: " << errno_name(errno);
      (void)umount2(at_.c_str(), MNT_DETACH);
    }
  }
  Overlay(const Overlay&) = delete;
  Overlay& operator=(const Overlay&) = delete;
  bool ok() const { return mounted_; }
  int error() const { return error_; }

 private:
  std::string at_;
  bool mounted_ = false;
  int error_ = 0;
};

bool is_whiteout(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

void list(Trace& t, const std::string& dir) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    names.insert(entry.path().lexically_relative(dir));
  }
  for (const std::string& name : names) {
    t.note("entry", name);
    t.stat(name, dir + "/" + name);
    if (std::filesystem::is_regular_file(std::filesystem::symlink_status(dir + "/" + name))) {
      t.content(name, dir + "/" + name);
    }
  }
}

void change(Trace& t, const std::string& dir) {
  // New ones.
  write_file(dir + "/new", "new");
  t.num("rename", rename((dir + "/new").c_str(), (dir + "/newer").c_str()));
  t.num("mkdir", mkdir((dir + "/made").c_str(), 0750));
  t.num("symlink", symlink("newer", (dir + "/link").c_str()));
  t.num("link", link((dir + "/newer").c_str(), (dir + "/made/same").c_str()));
  t.num("tmpfile", try_open(dir, O_RDWR | O_TMPFILE, 0600));
  // Old ones: copied up, moved away (which leaves a whiteout), removed, replaced.
  {
    const UniqueFd fd(t.ok("open", open((dir + "/changed").c_str(), O_RDWR | O_CLOEXEC)));
    t.num("pwrite", pwrite(fd.get(), "UP", 2, 1));
    t.num("fsync", fsync(fd.get()));
  }
  t.num("chmod", chmod((dir + "/mode").c_str(), 0600));
  t.num("move", rename((dir + "/moved").c_str(), (dir + "/made/moved").c_str()));
  t.num("unlink", unlink((dir + "/removed").c_str()));
  t.num("rename over", rename((dir + "/newer").c_str(), (dir + "/replaced").c_str()));
  t.num("exchange", renameat2(AT_FDCWD, (dir + "/replaced").c_str(), AT_FDCWD,
                              (dir + "/kept").c_str(), RENAME_EXCHANGE));
  t.num("unlink below", unlink((dir + "/full/below").c_str()));
  t.num("rmdir", rmdir((dir + "/full").c_str()));
  t.num("mkdir again", mkdir((dir + "/full").c_str(), 0755));  // opaque: the old content stays away
  write_file(dir + "/full/fresh", "fresh");
  list(t, dir);
}

TEST_F(ConsumersTest, OverlayfsKeepsItsUpperLayerOnTheMount) {
  const std::string lower = mount().tree().make_dir("lower");
  for (const char* name : {"changed", "mode", "moved", "removed", "replaced", "kept"}) {
    write_file(lower + "/" + name, std::string("lower ") + name);
  }
  make_dir(lower + "/full");
  write_file(lower + "/full/below", "below");
  const std::string natively = mount().tree().make_dir("overlay.native");
  const std::string through = mount().tree().make_dir("overlay.mnt");
  for (const std::string& dir : {mount().native(), mount().mnt()}) {
    make_dir(dir + "/upper");
    make_dir(dir + "/work");
  }
  Trace native;
  Trace mounted;
  {
    const Overlay one(lower, mount().native(), natively);
    if (!one.ok()) GTEST_SKIP() << "no overlayfs here: " << errno_name(one.error());
    const Overlay two(lower, mount().mnt(), through);
    ASSERT_TRUE(two.ok()) << errno_name(two.error());
    change(native, natively);
    change(mounted, through);
    EXPECT_EQ(native.text(), mounted.text()) << "native above, mounted below";
    EXPECT_EQ(native.count("changed", "lUPer changed"), 1) << native.text();
  }
  // What it has left on the source is what it leaves on a disk.
  for (const std::string& dir : {mount().native(), mount().source()}) {
    EXPECT_TRUE(is_whiteout(dir + "/upper/moved")) << dir;
    EXPECT_TRUE(is_whiteout(dir + "/upper/removed")) << dir;
    EXPECT_EQ(read_file(dir + "/upper/changed"), "lUPer changed");
  }
  // And the next overlay shows the same from it.
  const Overlay one(lower, mount().native(), natively);
  const Overlay two(lower, mount().mnt(), through);
  ASSERT_TRUE(one.ok() && two.ok());
  Trace native_again;
  Trace mounted_again;
  list(native_again, natively);
  list(mounted_again, through);
  EXPECT_EQ(native_again.text(), mounted_again.text());
  EXPECT_EQ(native_again.count("entry", "full/fresh"), 1);
  EXPECT_EQ(native_again.count("entry", "full/below"), 0);
}

// docs/semantics.md: valid while the kernel has the inode in memory; an open file keeps it there.
TEST_F(ConsumersTest, FileHandlesWorkWhileTheFileIsInUse) {
  write_file(mnt("f"), "content");
  UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  alignas(file_handle) std::array<unsigned char, sizeof(file_handle) + MAX_HANDLE_SZ> space{};
  auto* const handle = reinterpret_cast<file_handle*>(space.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  ASSERT_EQ(name_to_handle_at(AT_FDCWD, mnt("f").c_str(), handle, &mount_id, 0), 0)
      << errno_name(errno);
  const UniqueFd root(open(mnt("").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto opened = [&](int flags) {
    return UniqueFd(open_by_handle_at(root.get(), handle, flags | O_CLOEXEC));
  };
  ASSERT_EQ(rename(mnt("f").c_str(), mnt("g").c_str()), 0);
  {
    const UniqueFd again = opened(O_RDWR);
    ASSERT_TRUE(again.valid()) << errno_name(errno);
    EXPECT_EQ(pwrite(again.get(), "C", 1, 0), 1);
    struct stat one {};
    struct stat two {};
    ASSERT_EQ(fstat(again.get(), &one), 0);
    ASSERT_EQ(fstat(fd.get(), &two), 0);
    EXPECT_EQ(one.st_ino, two.st_ino);
  }
  EXPECT_EQ(read_file(source("g")), "Content");
  // A removed file's handle opens no other file that comes to its place.
  ASSERT_EQ(unlink(mnt("g").c_str()), 0);
  fd.reset();
  EXPECT_TRUE(wait_until([&] { return !opened(O_RDONLY).valid(); }));
  EXPECT_EQ(errno_name(errno), "ESTALE");
  write_file(mnt("h"), "other");
  EXPECT_FALSE(opened(O_RDONLY).valid());
}

// Executing, mapping and following links are reading, too.
TEST_F(ConsumersTest, NoatimeHoldsForExecutionMappingsAndLinks) {
  PFS_NEEDS_DAEMON();
  for (const bool strict : {false, true}) {
    MountSettings settings;
    if (strict) settings.options = {"noatime"};
    Mount mount(settings);
    ASSERT_TRUE(mount.ok());
    struct Side {
      std::string dir, source;
    };
    const Side sides[] = {{mount.native(), mount.native()}, {mount.mnt(), mount.source()}};
    std::vector<std::string> moved[2];
    for (int i = 0; i < 2; ++i) {
      const Side& side = sides[i];
      write_file(side.source + "/true", read_file("/bin/true"));
      ASSERT_EQ(chmod((side.source + "/true").c_str(), 0755), 0);
      write_file(side.source + "/mapped", std::string(10000, 'm'));
      ASSERT_EQ(symlink("mapped", (side.source + "/link").c_str()), 0);
      const timespec old[2] = {{1000000, 0}, {2000000, 0}};
      for (const char* name : {"true", "mapped", "link"}) {
        ASSERT_EQ(utimensat(AT_FDCWD, (side.source + "/" + name).c_str(), old, AT_SYMLINK_NOFOLLOW),
                  0);
      }
      EXPECT_EQ(run_program({side.dir + "/true"}).exit_code, 0);
      {
        const UniqueFd fd(open((side.dir + "/mapped").c_str(), O_RDONLY | O_CLOEXEC));
        void* at = mmap(nullptr, 10000, PROT_READ, MAP_SHARED, fd.get(), 0);
        ASSERT_NE(at, MAP_FAILED);
        EXPECT_EQ(static_cast<const char*>(at)[9000], 'm');
        munmap(at, 10000);
      }
      std::array<char, 100> target{};
      EXPECT_EQ(readlink((side.dir + "/link").c_str(), target.data(), target.size()), 6);
      for (const char* name : {"true", "mapped", "link"}) {
        struct stat st {};
        ASSERT_EQ(lstat((side.source + "/" + name).c_str(), &st), 0);
        if (st.st_atim.tv_sec != 1000000) moved[i].emplace_back(name);
        if (strict && i == 1) {
          ASSERT_EQ(lstat((side.dir + "/" + name).c_str(), &st), 0);
          EXPECT_EQ(st.st_atim.tv_sec, 1000000) << name << " through the mount";
        }
      }
    }
    if (strict) {
      EXPECT_EQ(moved[1], std::vector<std::string>{}) << "in the source";
    } else {
      EXPECT_EQ(moved[1], moved[0]) << "without noatime it is the source's choice";
    }
  }
}

}  // namespace
}  // namespace passthroughfs::test
