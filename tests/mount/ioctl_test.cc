// SPDX-License-Identifier: Apache-2.0
//
// The file ioctls that FUSE lets through, and that all others are refused.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

// On both media, since file systems differ in what they support.
class IoctlTest : public MountTest, public ::testing::WithParamInterface<TempTree::Medium> {
 protected:
  MountSettings settings() const override { return {.medium = GetParam()}; }
};

INSTANTIATE_TEST_SUITE_P(Media, IoctlTest,
                         ::testing::Values(TempTree::Medium::kDisk, TempTree::Medium::kMemory),
                         [](const auto& medium) {
                           return medium.param == TempTree::Medium::kDisk ? "Disk" : "Memory";
                         });

UniqueFd open_file(const std::string& path, int flags = O_RDONLY) {
  return UniqueFd(open(path.c_str(), flags | O_CLOEXEC));
}

void show_flags(Trace& t, const std::string& path) {
  const UniqueFd fd = open_file(path);
  int flags = 0;
  t.num("GETFLAGS", ioctl(fd.get(), FS_IOC_GETFLAGS, &flags));
  t.num("flags", flags & ~FS_EXTENT_FL);
}

int set_flags(const std::string& path, int flags) {
  const UniqueFd fd = open_file(path);
  int old = 0;
  if (ioctl(fd.get(), FS_IOC_GETFLAGS, &old) == 0) {
    flags |= old & FS_EXTENT_FL;
  }
  return ioctl(fd.get(), FS_IOC_SETFLAGS, &flags);
}

TEST_P(IoctlTest, FlagsAreReadAndSetAsNatively) {
  PFS_NEEDS_ROOT();
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "content");
    make_dir(dir + "/d");
    for (const char* name : {"/f", "/d"}) {
      show_flags(t, dir + name);
      for (const int flags : {FS_NODUMP_FL, FS_NOATIME_FL, FS_SYNC_FL, FS_NODUMP_FL | FS_NOATIME_FL,
                              FS_COMPR_FL, 0}) {
        t.num("SETFLAGS", set_flags(dir + name, flags));
        show_flags(t, dir + name);
      }
    }
  });
}

// The kernel opens the file once more for them, and whom it may be opened by now is not the
// question.
TEST_P(IoctlTest, FlagsOfAnOpenFileNeedNoRightToReadIt) {
  PFS_NEEDS_ROOT();
  same([](Trace& t, const std::string& dir) {
    const std::string open_dir = make_dir(dir + "/d", 0777);
    run_as(kAlice, t, [&](Trace& at) {
      const UniqueFd file(open((open_dir + "/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0));
      make_dir(open_dir + "/sub");
      const UniqueFd sub = open_file(open_dir + "/sub", O_RDONLY | O_DIRECTORY);
      at.ok("chmod", chmod((open_dir + "/sub").c_str(), 0));
      for (const UniqueFd* fd : {&file, &sub}) {
        int flags = 0;
        at.ok("GETFLAGS", ioctl(fd->get(), FS_IOC_GETFLAGS, &flags));
        at.ok("SETFLAGS", ioctl(fd->get(), FS_IOC_SETFLAGS, &flags));
      }
    });
  });
}

TEST_P(IoctlTest, SettingFlagsMovesCtimeAtOnce) {
  PFS_NEEDS_ROOT();
  const Trace trace = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "content");
    struct stat before {
    }, after{};
    t.ok("stat", stat((dir + "/f").c_str(), &before));
    next_timestamp();
    t.num("SETFLAGS", set_flags(dir + "/f", FS_NODUMP_FL));
    t.ok("stat", stat((dir + "/f").c_str(), &after));
    t.note("ctime moved", before.st_ctim.tv_sec != after.st_ctim.tv_sec ||
                              before.st_ctim.tv_nsec != after.st_ctim.tv_nsec);
  });
  EXPECT_EQ(trace.count("ctime moved", "yes"), 1);
}

TEST_P(IoctlTest, AppendOnlyFilesOnlyGrow) {
  PFS_NEEDS_ROOT();
  // With handles=stateless an open asks nobody; the write is refused then.
  const bool asks_the_source = !mount().has_option("handles=stateless");
  same([&](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "content");
    const UniqueFd before = open_file(path, O_RDWR);
    t.num("SETFLAGS", set_flags(path, FS_APPEND_FL));
    show_flags(t, path);
    if (asks_the_source) {
      t.num("open", try_open(path, O_WRONLY));
    }
    t.num("O_TRUNC", try_open(path, O_WRONLY | O_TRUNC));
    t.num("truncate", truncate(path.c_str(), 0));
    const UniqueFd fd(t.ok("append", open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)));
    t.num("write", write(fd.get(), " and more", 9));
    t.num("ftruncate", ftruncate(fd.get(), 3));
    t.num("O_DIRECT", try_open(path, O_RDWR | O_APPEND | O_DIRECT));
    // Natively EPERM. For FUSE the kernel does not know that the file is append-only, so what it
    // then sends must not overwrite anything either.
    (void)fcntl(fd.get(), F_SETFL, 0);
    (void)!pwrite(fd.get(), "X", 1, 0);
    t.num("ftruncate through the older handle", ftruncate(before.get(), 3));
    t.num("unlink", unlink(path.c_str()));
    t.num("rename", rename(path.c_str(), (dir + "/g").c_str()));
    t.num("link", link(path.c_str(), (dir + "/l").c_str()));
    t.num("chmod", chmod(path.c_str(), 0600));
    t.num("utimes", utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
    t.note("content", std::string_view(read_file(path)).substr(0, 16));
    t.num("SETFLAGS", set_flags(path, 0));
    // Kernel passthrough keeps the O_APPEND of the open (docs/semantics.md).
    const bool exact = mount().has_option("io=daemon") || mount().has_option("handles=stateless");
    if (exact) t.num("F_SETFL", fcntl(fd.get(), F_SETFL, 0));
    t.num("pwrite", pwrite(fd.get(), "X", 1, 0));
    t.note("content without the flag", std::string_view(read_file(path)).substr(0, 16));
    t.num("unlink", unlink(path.c_str()));
  });
}

TEST_P(IoctlTest, AppendOnlyFilesLoseSetIdBitsToAWriter) {
  PFS_NEEDS_ROOT();
  same([](Trace& trace, const std::string& dir) {
    const std::string path = dir + "/f";
    for (const Identity& who : {kAlice, kBob, Identity{kBob.uid, kBob.gid, {kAlice.gid}}}) {
      for (const mode_t mode : {06777U, 02766U}) {
        write_file(path, "content");
        ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
        ASSERT_EQ(chmod(path.c_str(), mode), 0);
        trace.num("SETFLAGS", set_flags(path, FS_APPEND_FL));
        run_as(who, trace, [&](Trace& t) {
          const UniqueFd fd(open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
          t.num("write", write(fd.get(), "x", 1));
        });
        trace.stat("stat", path);
        ASSERT_EQ(set_flags(path, 0), 0);
        ASSERT_EQ(unlink(path.c_str()), 0);
      }
    }
  });
}

TEST_P(IoctlTest, AppendOnlyFilesLoseCapabilitiesToAWriter) {
  PFS_NEEDS_ROOT();
  same([](Trace& trace, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "content");
    ASSERT_EQ(chmod(path.c_str(), 0666), 0);
    vfs_cap_data data{};
    data.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
    data.data[0].permitted = 1U << CAP_NET_BIND_SERVICE;
    trace.num("setxattr", setxattr(path.c_str(), "security.capability", &data, sizeof data, 0));
    trace.num("SETFLAGS", set_flags(path, FS_APPEND_FL));
    run_as(kAlice, trace, [&](Trace& t) {
      const UniqueFd fd(open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
      t.num("write", write(fd.get(), "x", 1));
    });
    trace.num("left", getxattr(path.c_str(), "security.capability", nullptr, 0));
    ASSERT_EQ(set_flags(path, 0), 0);
    trace.content("content", path);
  });
}

TEST_P(IoctlTest, ImmutableFilesAndDirectoriesStay) {
  PFS_NEEDS_ROOT();
  // With handles=stateless an open asks nobody; the write is refused then.
  const bool asks_the_source = !mount().has_option("handles=stateless");
  same([&](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "content");
    make_dir(dir + "/d");
    write_file(dir + "/d/inside", "inside");
    t.num("SETFLAGS", set_flags(path, FS_IMMUTABLE_FL));
    t.num("SETFLAGS", set_flags(dir + "/d", FS_IMMUTABLE_FL));
    show_flags(t, path);
    if (asks_the_source) {
      t.num("open to write", try_open(path, O_WRONLY));
    }
    t.num("open to read", try_open(path, O_RDONLY));
    t.num("truncate", truncate(path.c_str(), 0));
    t.num("chmod", chmod(path.c_str(), 0600));
    t.num("chown", chown(path.c_str(), 1, 1));
    t.num("utimes", utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
    t.num("unlink", unlink(path.c_str()));
    t.num("link", link(path.c_str(), (dir + "/l").c_str()));
    t.num("rename", rename(path.c_str(), (dir + "/g").c_str()));
    t.num("create in it", try_open(dir + "/d/new", O_WRONLY | O_CREAT));
    t.num("unlink in it", unlink((dir + "/d/inside").c_str()));
    t.num("write in it", try_open(dir + "/d/inside", O_WRONLY));
    t.content("content", path);
    t.num("SETFLAGS", set_flags(path, 0));
    t.num("SETFLAGS", set_flags(dir + "/d", 0));
    t.num("truncate", truncate(path.c_str(), 0));
  });
}

TEST_P(IoctlTest, OrdinaryUsersAreRefusedAsNatively) {
  PFS_NEEDS_ROOT();
  same([](Trace& trace, const std::string& dir) {
    write_file(dir + "/f", "content");
    ASSERT_EQ(chown((dir + "/f").c_str(), kAlice.uid, kAlice.gid), 0);
    for (const Identity& who : {kAlice, kBob}) {
      run_as(who, trace, [&](Trace& t) {
        for (const int flags : {FS_APPEND_FL, FS_IMMUTABLE_FL, FS_NODUMP_FL, 0}) {
          t.num("SETFLAGS", set_flags(dir + "/f", flags));
        }
        show_flags(t, dir + "/f");
      });
    }
    (void)set_flags(dir + "/f", 0);
  });
}

TEST_P(IoctlTest, GenerationAndExtendedAttributesOfTheFile) {
  PFS_NEEDS_ROOT();
  write_file(mnt("f"), "content");
  make_dir(mnt("d"));
  for (const char* name : {"f", "d"}) {
    SCOPED_TRACE(name);
    const UniqueFd mounted = open_file(mnt(name));
    const UniqueFd real = open_file(source(name));
    int one = 0;
    int two = 0;
    errno = 0;
    const int first = ioctl(mounted.get(), FS_IOC_GETVERSION, &one);
    const int first_error = errno;
    errno = 0;
    const int second = ioctl(real.get(), FS_IOC_GETVERSION, &two);
    EXPECT_EQ(first, second);
    EXPECT_EQ(errno_name(first_error), errno_name(errno));
    EXPECT_EQ(one, two);
  }
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/g", "content");
    const UniqueFd fd = open_file(dir + "/g");
    fsxattr attributes{};
    t.num("FSGETXATTR", ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes));
    t.num("xflags", static_cast<long>(attributes.fsx_xflags));
    t.num("project", static_cast<long>(attributes.fsx_projid));
    attributes.fsx_xflags |= FS_XFLAG_NODUMP;
    t.num("FSSETXATTR", ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes));
    attributes = {};
    t.num("FSGETXATTR", ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes));
    t.num("xflags", static_cast<long>(attributes.fsx_xflags));
    show_flags(t, dir + "/g");
  });
}

TEST_P(IoctlTest, UnknownOnesAreNotATerminal) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "content");
    const UniqueFd fd = open_file(dir + "/f", O_RDWR);
    const UniqueFd directory = open_file(dir);
    for (const int file : {fd.get(), directory.get()}) {
      termios terminal{};
      t.num("TCGETS", ioctl(file, TCGETS, &terminal));
      char buffer[64] = {};
      t.num("made up", ioctl(file, _IOWR('P', 200, buffer), buffer));
      t.num("made up without data", ioctl(file, _IO('P', 201)));
      t.num("FS_IOC_GETFLAGS of another size", ioctl(file, _IOR('f', 1, char), buffer));
    }
    int waiting = 0;
    t.num("FIONREAD", ioctl(fd.get(), FIONREAD, &waiting));
    t.num("bytes", waiting);
    int block = 0;
    t.num("FIGETBSZ", ioctl(fd.get(), FIGETBSZ, &block));
    t.num("block", block);
  });
}

TEST_P(IoctlTest, ChattrAndLsattrWork) {
  PFS_NEEDS_ROOT();
  if (!have_program("chattr")) {
    GTEST_SKIP() << "chattr is not installed";
  }
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "content");
    t.num("chattr", run_program({"chattr", "+d", dir + "/f"}).exit_code);
    const std::string out = run_program({"lsattr", "-d", dir + "/f"}).out;
    t.note("lsattr", std::string_view(out).substr(0, out.find(' ')));
    t.num("immutable", run_program({"chattr", "+i", dir + "/f"}).exit_code);
    t.num("unlink", unlink((dir + "/f").c_str()));
    t.num("mutable", run_program({"chattr", "-i", dir + "/f"}).exit_code);
  });
}

}  // namespace
}  // namespace passthroughfs::test
