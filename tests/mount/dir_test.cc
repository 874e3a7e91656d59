// SPDX-License-Identifier: Apache-2.0
//
// Listing directories, also while they change, and the limits of names and paths.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class DirTest : public MountTest {};

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};
using Dir = std::unique_ptr<DIR, CloseDir>;

std::vector<std::string> list(DIR* dir) {
  std::vector<std::string> names;
  while (const dirent* entry = readdir(dir)) {
    names.emplace_back(entry->d_name);
  }
  return names;
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> list(const std::string& path) {
  const Dir dir(opendir(path.c_str()));
  return dir != nullptr ? sorted(list(dir.get())) : std::vector<std::string>{"cannot open"};
}

std::string numbered(int i) { return "entry-with-a-middling-long-name-" + std::to_string(i); }

void fill(const std::string& path, int count) {
  for (int i = 0; i < count; ++i) {
    const UniqueFd fd(
        open((path + "/" + numbered(i)).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    ASSERT_TRUE(fd.valid());
  }
}

// Small directories, so that one listing is one request.
void make_directories(const std::string& path, int count, int files) {
  for (int i = 0; i < count; ++i) {
    const std::string dir = path + "/" + std::to_string(i);
    ASSERT_EQ(mkdir(dir.c_str(), 0755), 0);
    fill(dir, files);
  }
}

TEST_F(DirTest, WhoLooksAtWhatItListsIsGivenTheAttributesWithTheList) {
  if (mount().has_option("handles=stateless")) GTEST_SKIP() << "the kernel's own guess";
  constexpr int kDirectories = 20, kFiles = 30;
  make_directories(source(""), kDirectories, kFiles);
  std::size_t seen = 0;
  for (int i = 0; i < kDirectories; ++i) {
    const std::string dir = mnt("") + "/" + std::to_string(i);
    for (const std::string& name : list(dir)) {
      struct stat st {};
      if (lstat((dir + "/" + name).c_str(), &st) == 0 && S_ISREG(st.st_mode)) ++seen;
    }
  }
  EXPECT_EQ(seen, std::size_t{kDirectories} * kFiles);
  // One directory to find out, then only the directories themselves.
  EXPECT_LT(mount().requests("LOOKUP"), std::uint64_t{kDirectories} + 2 * kFiles);
}

TEST_F(DirTest, WhoOnlyListsCausesNoLookups) {
  constexpr int kDirectories = 20, kFiles = 30;
  make_directories(source(""), kDirectories, kFiles);
  for (int i = 0; i < kDirectories; ++i) {
    EXPECT_EQ(list(mnt("") + "/" + std::to_string(i)).size(), std::size_t{kFiles} + 2);
  }
  const std::string stats = mount().command({"stats", mnt("")}).out;
  std::istringstream lines(stats);
  std::uint64_t inodes = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" inodes (") != std::string::npos) inodes = std::stoull(line);
  }
  EXPECT_GT(inodes, 0U) << stats;
  EXPECT_LE(inodes, std::uint64_t{kDirectories} + 1) << stats;
}

TEST_F(DirTest, ListsEachEntryOnceWithDots) {
  fill(source(""), 10000);
  const std::vector<std::string> names = list(mnt(""));
  std::vector<std::string> expected = {".", ".."};
  for (int i = 0; i < 10000; ++i) {
    expected.push_back(numbered(i));
  }
  EXPECT_TRUE(names == sorted(expected)) << names.size() << " names";
  EXPECT_TRUE(list(mnt("")) == sorted(expected)) << "second time";
}

TEST_F(DirTest, EmptyDirectoryHasOnlyDots) {
  make_dir(mnt("d"));
  EXPECT_EQ(list(mnt("d")), (std::vector<std::string>{".", ".."}));
}

TEST_F(DirTest, EntriesCarryTypeAndInode) {
  PFS_NEEDS_ROOT();
  make_dir(mnt("directory"));
  write_file(mnt("file"), "");
  ASSERT_EQ(symlink("file", mnt("symlink").c_str()), 0);
  ASSERT_EQ(mkfifo(mnt("fifo").c_str(), 0644), 0);
  ASSERT_EQ(mknod(mnt("socket").c_str(), S_IFSOCK | 0644, 0), 0);
  ASSERT_EQ(mknod(mnt("null").c_str(), S_IFCHR | 0644, makedev(1, 3)), 0);
  const Dir dir(opendir(mnt("").c_str()));
  std::map<std::string, unsigned char> types;
  while (const dirent* entry = readdir(dir.get())) {
    struct stat st {};
    ASSERT_EQ(lstat(mnt(entry->d_name).c_str(), &st), 0);
    const std::string name = entry->d_name;
    EXPECT_EQ(DTTOIF(entry->d_type), st.st_mode & S_IFMT) << name;
    if (name != "..") {  // the mount point's own parent is another file system
      EXPECT_EQ(entry->d_ino, st.st_ino) << name;
    }
  }
}

TEST_F(DirTest, InodesAreTheSourcesOwn) {
  write_file(mnt("f"), "");
  struct stat one {};
  struct stat two {};
  ASSERT_EQ(lstat(mnt("f").c_str(), &one), 0);
  ASSERT_EQ(lstat(source("f").c_str(), &two), 0);
  EXPECT_EQ(one.st_ino, two.st_ino);
}

TEST_F(DirTest, DotDotOfTheRootDoesNotLeakTheSource) {
  PFS_NEEDS_DAEMON();
  struct stat up {};
  struct stat tree {};
  ASSERT_EQ(stat(mnt("..").c_str(), &up), 0);
  ASSERT_EQ(stat(mount().tree().path().c_str(), &tree), 0);
  EXPECT_EQ(up.st_ino, tree.st_ino);
  EXPECT_EQ(up.st_dev, tree.st_dev);
  const Dir dir(opendir(mnt("").c_str()));
  struct stat parent_of_source {};
  ASSERT_EQ(stat((mount().source() + "/..").c_str(), &parent_of_source), 0);
  struct stat root {};
  ASSERT_EQ(stat(mnt("").c_str(), &root), 0);
  while (const dirent* entry = readdir(dir.get())) {
    if (std::string(entry->d_name) == "..") {
      // What the kernel cannot know it takes from us: the root's parent is the root.
      EXPECT_EQ(entry->d_ino, root.st_ino);
    }
  }
}

TEST_F(DirTest, SeekGoesBackToWhereTellWas) {
  fill(source(""), 3000);
  const Dir dir(opendir(mnt("").c_str()));
  std::vector<std::pair<long, std::string>> seen;
  for (;;) {
    const long at = telldir(dir.get());
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) {
      break;
    }
    seen.emplace_back(at, entry->d_name);
  }
  ASSERT_EQ(seen.size(), 3002U);
  for (std::size_t i = 0; i < seen.size(); i += 97) {
    const auto& [at, name] = seen[(i * 7) % seen.size()];
    seekdir(dir.get(), at);
    const dirent* entry = readdir(dir.get());
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->d_name, name);
  }
  seekdir(dir.get(), seen[1500].first);
  EXPECT_EQ(list(dir.get()).size(), seen.size() - 1500);
}

TEST_F(DirTest, RewindShowsNewFiles) {
  const Trace native = same([](Trace& t, const std::string& path) {
    make_dir(path + "/d");
    fill(path + "/d", 20);
    const Dir dir(opendir((path + "/d").c_str()));
    t.num("first", static_cast<long>(list(dir.get()).size()));
    fill(path, 1);
    write_file(path + "/d/new", "");
    ASSERT_EQ(unlink((path + "/d/" + numbered(3)).c_str()), 0);
    ASSERT_EQ(unlink((path + "/d/" + numbered(4)).c_str()), 0);
    rewinddir(dir.get());
    const auto names = list(dir.get());
    t.num("after", static_cast<long>(names.size()));
    t.note("new", std::find(names.begin(), names.end(), "new") != names.end());
    t.note("gone", std::find(names.begin(), names.end(), numbered(3)) != names.end());
  });
  EXPECT_EQ(native.count("first", "22"), 1);
}

TEST_F(DirTest, ChangesBehindTheMountAreListedWithoutDelay) {
  PFS_NEEDS_A_SHARED_SOURCE();
  const Dir open_before(opendir(mnt("").c_str()));
  EXPECT_EQ(list(open_before.get()).size(), 2U);
  write_file(source("new"), "");
  // In every cache mode within about a second.
  EXPECT_TRUE(wait_until([&] {
    const auto names = list(mnt(""));
    return std::find(names.begin(), names.end(), "new") != names.end();
  }));
  rewinddir(open_before.get());
  EXPECT_EQ(list(open_before.get()).size(), 3U);
}

TEST_F(DirTest, RemovingWhileListingRemovesAll) {
  make_dir(mnt("d"));
  fill(source("d"), 5000);
  const Dir dir(opendir(mnt("d").c_str()));
  int removed = 0;
  while (const dirent* entry = readdir(dir.get())) {
    if (entry->d_name[0] != '.') {
      ASSERT_EQ(unlink(mnt("d/" + std::string(entry->d_name)).c_str()), 0);
      ++removed;
    }
  }
  EXPECT_EQ(removed, 5000);
  EXPECT_EQ(rmdir(mnt("d").c_str()), 0) << errno_name(errno);
}

// What stays in place during the whole listing must be listed exactly once.
TEST_F(DirTest, OthersComeAndGoDuringTheListing) {
  fill(source(""), 2000);
  std::atomic<bool> stop = false;
  auto churn = [&](const std::string& where, const std::string& name) {
    for (int i = 0; !stop; ++i) {
      const std::string path = where + "/" + name + std::to_string(i % 300);
      if (unlink(path.c_str()) != 0) {
        write_file(path, "");
      }
    }
  };
  std::thread inside([&] { churn(mnt(""), "inside"); });
  std::thread outside([&] { churn(source(""), "outside"); });
  for (int round = 0; round < 10; ++round) {
    const Dir dir(opendir(mnt("").c_str()));
    std::map<std::string, int> seen;
    errno = 0;
    while (const dirent* entry = readdir(dir.get())) {
      ++seen[entry->d_name];
    }
    EXPECT_EQ(errno, 0);
    for (int i = 0; i < 2000; ++i) {
      ASSERT_EQ(seen[numbered(i)], 1) << numbered(i) << " in round " << round;
    }
  }
  stop = true;
  inside.join();
  outside.join();
}

TEST_F(DirTest, TwoThreadsShareOneStream) {
  fill(source(""), 3000);
  const Dir dir(opendir(mnt("").c_str()));
  const long start = telldir(dir.get());
  // readdir is serialised by libc; the directory handle is used from two threads all the same.
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::map<std::string, int> seen;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (;;) {
        const std::lock_guard lock(mutex);
        const dirent* entry = readdir(dir.get());
        if (entry == nullptr) {
          return;
        }
        ++seen[entry->d_name];
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(seen.size(), 3002U);
  EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](auto& s) { return s.second == 1; }));
  // And once more with one of them jumping about.
  threads.clear();
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 500; ++j) {
        const std::lock_guard lock(mutex);
        if (i == 0 && j % 50 == 0) {
          seekdir(dir.get(), start);
        }
        (void)readdir(dir.get());
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  seekdir(dir.get(), start);
  EXPECT_EQ(list(dir.get()).size(), 3002U);
}

TEST_F(DirTest, ManyStreamsOfOneDirectoryAtOnce) {
  fill(source(""), 1000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(list(mnt("")).size(), 1002U);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_F(DirTest, StreamSurvivesTheDirectorysEnd) {
  same([](Trace& t, const std::string& path) {
    make_dir(path + "/d");
    write_file(path + "/d/f", "");
    const Dir dir(opendir((path + "/d").c_str()));
    t.num("unlink", unlink((path + "/d/f").c_str()));
    t.num("rmdir", rmdir((path + "/d").c_str()));
    errno = 0;
    t.num("entries", static_cast<long>(list(dir.get()).size()));
    t.note("errno", errno_name(errno));
    t.fstat("fstat", dirfd(dir.get()));
    t.num("create in it", try_openat(dirfd(dir.get()), "x", O_WRONLY | O_CREAT, 0644));
    t.num("mkdir in it", mkdirat(dirfd(dir.get()), "x", 0755));
    t.num("fchmod", fchmod(dirfd(dir.get()), 0700));
  });
}

TEST_F(DirTest, WorkingDirectoryIsRemovedRenamedAndReplaced) {
  same([](Trace& trace, const std::string& path) {
    make_dir(path + "/d");
    make_dir(path + "/e");
    in_child(trace, [&](Trace& t) {
      t.num("chdir", chdir((path + "/d").c_str()));
      t.num("rename", rename((path + "/d").c_str(), (path + "/e/d2").c_str()));
      write_file("f", "here");
      t.content("content", path + "/e/d2/f");
      char name[4096];
      t.note("getcwd", getcwd(name, sizeof name) != nullptr && path + "/e/d2" == name);
      t.num("unlink", unlink("f"));
      t.num("rmdir", rmdir((path + "/e/d2").c_str()));
      t.note("getcwd", getcwd(name, sizeof name) != nullptr);
      t.num("open", try_open("x", O_WRONLY | O_CREAT));
      t.num("stat .", access(".", F_OK));
      t.num("stat ..", access("..", F_OK));
      t.num("rmdir .", rmdir("."));
      make_dir(path + "/e/d2");
      t.num("open", try_open("x", O_WRONLY | O_CREAT));
    });
  });
}

TEST_F(DirTest, MakingAndRemovingAnswersAsNatively) {
  same([](Trace& t, const std::string& path) {
    const std::string d = path + "/d";
    t.num("mkdir", mkdir(d.c_str(), 0755));
    t.num("again", mkdir(d.c_str(), 0755));
    t.num("below nothing", mkdir((path + "/none/d").c_str(), 0755));
    write_file(d + "/f", "");
    t.num("below a file", mkdir((d + "/f/d").c_str(), 0755));
    t.num("over a file", mkdir((d + "/f").c_str(), 0755));
    t.num("rmdir full", rmdir(d.c_str()));
    t.num("rmdir file", rmdir((d + "/f").c_str()));
    t.num("unlink dir", unlink(d.c_str()));
    t.num("rmdir .", rmdir((d + "/.").c_str()));
    t.num("rmdir ..", rmdir((d + "/..").c_str()));
    t.num("unlink", unlink((d + "/f").c_str()));
    t.num("unlink again", unlink((d + "/f").c_str()));
    t.stat("parent", path);
    t.num("rmdir", rmdir(d.c_str()));
    t.num("rmdir again", rmdir(d.c_str()));
    t.stat("parent", path);
    t.num("trailing slash", mkdir((d + "/").c_str(), 0755));
    t.stat("d", d);
    t.num("rmdir slash", rmdir((d + "/").c_str()));
    t.num("symlink", symlink("none", (path + "/link").c_str()));
    t.num("mkdir over symlink", mkdir((path + "/link").c_str(), 0755));
    t.num("rmdir symlink", rmdir((path + "/link").c_str()));
  });
}

TEST_F(DirTest, LongestNames) {
  const Trace native = same([](Trace& t, const std::string& path) {
    const std::string longest(255, 'n');
    const std::string longer(256, 'n');
    t.num("create", try_open(path + "/" + longest, O_WRONLY | O_CREAT));
    t.stat("stat", path + "/" + longest);
    t.num("too long", try_open(path + "/" + longer, O_WRONLY | O_CREAT));
    t.num("stat too long", access((path + "/" + longer).c_str(), F_OK));
    t.num("mkdir too long", mkdir((path + "/" + longer).c_str(), 0755));
    t.num("symlink too long", symlink("x", (path + "/" + longer).c_str()));
    t.num("rename", rename((path + "/" + longest).c_str(), (path + "/" + longer).c_str()));
    t.num("rename",
          rename((path + "/" + longest).c_str(), (path + "/" + std::string(255, 'm')).c_str()));
    t.num("unlink", unlink((path + "/" + std::string(255, 'm')).c_str()));
    // Bytes that are no letters are names like any other.
    const std::string odd = "a\x01\xff\n b\\\"'";
    write_file(path + "/" + odd, "odd");
    t.content("odd", path + "/" + odd);
    for (const std::string& name : list(path)) {
      t.note("entry", name);
    }
  });
  EXPECT_EQ(native.count("create", "0"), 1);
  EXPECT_EQ(native.count("too long", "ENAMETOOLONG"), 1);
}

TEST_F(DirTest, LongestSymlink) {
  same([](Trace& t, const std::string& path) {
    for (const std::size_t length : {1U, 255U, 1024U, 4095U, 4096U}) {
      const std::string target(length, 't');
      const std::string link = path + "/link" + std::to_string(length);
      t.num("symlink", symlink(target.c_str(), link.c_str()));
      std::string read(5000, '\0');
      const ssize_t n = t.num("readlink", readlink(link.c_str(), read.data(), read.size()));
      t.note("same", n > 0 && read.substr(0, static_cast<std::size_t>(n)) == target);
      t.num("short buffer", readlink(link.c_str(), read.data(), 3));
    }
    t.num("empty", symlink("", (path + "/empty").c_str()));
    t.num("over", symlink("x", (path + "/link1").c_str()));
  });
}

TEST_F(DirTest, PathOfPathMaxWorks) {
  same([](Trace& trace, const std::string& path) {
    in_child(trace, [&](Trace& t) {
      // Relative to the directory, so that the place of the tree itself does not count.
      ASSERT_EQ(chdir(path.c_str()), 0);
      std::string deep;
      while (deep.size() + 201 < 4095 - 1) {
        deep += (deep.empty() ? "" : "/") + std::string(200, 'd');
        ASSERT_EQ(mkdir(deep.c_str(), 0755), 0);
      }
      const std::string file = deep + "/" + std::string(4095 - deep.size() - 1, 'f');
      ASSERT_EQ(file.size(), 4095U);
      t.num("create", try_open(file, O_WRONLY | O_CREAT));
      t.stat("stat", file);
      t.num("one more", try_open(file + "f", O_WRONLY | O_CREAT));
      t.num("unlink", unlink(file.c_str()));
      // Deeper than any path: step by step.
      for (int i = 0; i < 40; ++i) {
        ASSERT_EQ(mkdir(std::string(200, 'd').c_str(), 0755) == 0 || errno == EEXIST, true);
        ASSERT_EQ(chdir(std::string(200, 'd').c_str()), 0);
      }
      write_file("deep", "down");
      t.content("content", "deep");
    });
  });
}

TEST_F(DirTest, ManySubdirectoriesCountAsLinks) {
  same([](Trace& t, const std::string& path) {
    for (int i = 0; i < 50; ++i) {
      make_dir(path + "/d" + std::to_string(i));
    }
    t.stat("parent", path);
    ASSERT_EQ(rmdir((path + "/d7").c_str()), 0);
    t.stat("parent", path);
    ASSERT_EQ(rename((path + "/d8").c_str(), (path + "/d9/d8").c_str()), 0);
    t.stat("parent", path);
    t.stat("new parent", path + "/d9");
  });
}

// The kernel, which believes that the name is still the old directory's, marks that as removed.
TEST_F(DirTest, ADirectoryThatWasMovedBehindTheMountOutlivesAnotherOneOfItsName) {
  PFS_NEEDS_A_SHARED_SOURCE();
  for (const bool known : {false, true}) {
    SCOPED_TRACE(known ? "the other one is known" : "the other one is new");
    make_dir(source("a"));
    make_dir(source("other"));
    const UniqueFd held(open(mnt("a").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(held.valid());
    if (known) {
      EXPECT_EQ(access(mnt("other").c_str(), F_OK), 0);
    }
    ASSERT_EQ(rename(source("a").c_str(), source("moved").c_str()), 0);
    ASSERT_EQ(rename(source("other").c_str(), source("a").c_str()), 0);
    EXPECT_EQ(rmdir(mnt("a").c_str()), 0) << errno_name(errno);
    EXPECT_LT(access(source("a").c_str(), F_OK), 0);
    EXPECT_TRUE(wait_until([&] { return access(mnt("moved").c_str(), F_OK) == 0; }));
    EXPECT_EQ(try_open(mnt("moved/f"), O_WRONLY | O_CREAT), 0) << errno_name(errno);
    EXPECT_EQ(try_openat(held.get(), "f", O_RDONLY), 0) << errno_name(errno);
    EXPECT_EQ(unlink(mnt("moved/f").c_str()), 0);
    EXPECT_EQ(rmdir(mnt("moved").c_str()), 0) << errno_name(errno);
  }
}

TEST_F(DirTest, ADirectoryThatWasRenamedIsRemoved) {
  make_dir(mnt("a"));
  make_dir(mnt("a/b"));
  ASSERT_EQ(rename(mnt("a").c_str(), mnt("c").c_str()), 0);
  ASSERT_EQ(rename(mnt("c/b").c_str(), mnt("b").c_str()), 0);
  EXPECT_EQ(rmdir(mnt("c").c_str()), 0) << errno_name(errno);
  EXPECT_EQ(rmdir(mnt("b").c_str()), 0) << errno_name(errno);
}

}  // namespace
}  // namespace passthroughfs::test
