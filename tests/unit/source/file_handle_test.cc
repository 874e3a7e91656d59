// SPDX-License-Identifier: Apache-2.0
#include "source/file_handle.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "source/sys.h"
#include "support/mount_fixture.h"
#include "support/run_as.h"
#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

using test::TempTree;

class FileHandleTest : public ::testing::TestWithParam<TempTree::Medium> {
 protected:
  FileHandleTest()
      : tree_(GetParam()),
        mount_(::open(tree_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  void SetUp() override {
    PFS_NEEDS_ROOT();
    auto handle = FileHandle::of(mount_.borrow());
    if (!handle) GTEST_SKIP() << "no file handles here: " << handle.error().to_string();
  }
  [[nodiscard]] std::string path(const std::string& name) const { return tree_ / name; }
  void make_file(const std::string& name) const {
    UniqueFd(::open(path(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)).reset();
  }
  [[nodiscard]] FileHandle handle(const std::string& name) const {
    const UniqueFd fd(::open(path(name).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    auto out = FileHandle::of(fd.borrow());
    EXPECT_TRUE(out.has_value()) << name << ": " << out.error().to_string();
    return out ? *out : FileHandle();
  }
  [[nodiscard]] std::uint64_t ino(const std::string& name) const {
    struct stat st {};
    EXPECT_EQ(::lstat(path(name).c_str(), &st), 0) << name;
    return st.st_ino;
  }

  TempTree tree_;
  UniqueFd mount_;
};
INSTANTIATE_TEST_SUITE_P(Medium, FileHandleTest,
                         ::testing::Values(TempTree::Medium::kDisk, TempTree::Medium::kMemory),
                         [](const auto& row) {
                           return row.param == TempTree::Medium::kDisk ? "Disk" : "Memory";
                         });

TEST_P(FileHandleTest, OpensEveryKindOfFileAgain) {
  make_file("regular");
  ASSERT_EQ(::mkdir(path("directory").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("nowhere", path("link").c_str()), 0);
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mknod(path("socket").c_str(), S_IFSOCK | 0600, 0), 0);
  for (const char* name : {".", "regular", "directory", "link", "fifo", "socket"}) {
    auto fd = handle(name).open(mount_.borrow());
    ASSERT_TRUE(fd.has_value()) << name << ": " << fd.error().to_string();
    EXPECT_EQ(sys::stat_at(fd->borrow())->stx_ino, ino(name)) << name;
    EXPECT_EQ(::fcntl(fd->get(), F_GETFL) & O_PATH, O_PATH) << name;
    EXPECT_EQ(::fcntl(fd->get(), F_GETFD), FD_CLOEXEC) << name;
  }
}

TEST_P(FileHandleTest, HardLinksHaveOneHandleAndOtherFilesAnother) {
  make_file("file");
  make_file("other");
  ASSERT_EQ(::link(path("file").c_str(), path("link").c_str()), 0);
  EXPECT_TRUE(handle("file").same_file(handle("link")));
  EXPECT_FALSE(handle("file").same_file(handle("other")));
}

TEST_P(FileHandleTest, AHandleSurvivesARename) {
  make_file("file");
  const FileHandle before = handle("file");
  ASSERT_EQ(::rename(path("file").c_str(), path("moved").c_str()), 0);
  auto fd = before.open(mount_.borrow());
  ASSERT_TRUE(fd.has_value());
  EXPECT_EQ(sys::stat_at(fd->borrow())->stx_ino, ino("moved"));
  EXPECT_TRUE(before.same_file(handle("moved")));
}

TEST_P(FileHandleTest, AHandleOfADeletedFileIsStale) {
  make_file("file");
  const FileHandle before = handle("file");
  ASSERT_EQ(::unlink(path("file").c_str()), 0);
  auto fd = before.open(mount_.borrow());
  ASSERT_FALSE(fd.has_value());
  EXPECT_EQ(fd.error(), ESTALE);
}

TEST_P(FileHandleTest, TheNextFileOnAnInodeNumberHasAnotherHandle) {
  make_file("file");
  const FileHandle before = handle("file");
  const std::uint64_t number = ino("file");
  ASSERT_EQ(::unlink(path("file").c_str()), 0);
  for (int i = 0; i < 2000; ++i) {
    const std::string name = "again" + std::to_string(i);
    make_file(name);
    if (ino(name) != number) continue;
    EXPECT_FALSE(before.same_file(handle(name)));
    auto fd = before.open(mount_.borrow());
    ASSERT_FALSE(fd.has_value());
    EXPECT_EQ(fd.error(), ESTALE);
    return;
  }
  GTEST_SKIP() << "this file system does not reuse inode numbers soon";
}

TEST_P(FileHandleTest, NeedsADescriptorOnTheMountThatIsNotOPath) {
  make_file("file");
  const UniqueFd path_only(::open(tree_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto fd = handle("file").open(path_only.borrow());
  ASSERT_FALSE(fd.has_value());
  EXPECT_EQ(fd.error(), EBADF);
}

TEST_P(FileHandleTest, OpeningNeedsCapDacReadSearch) {
  make_file("file");
  const FileHandle saved = handle("file");
  test::run_as(test::kAlice, [&] {
    auto fd = saved.open(mount_.borrow());
    ASSERT_FALSE(fd.has_value());
    EXPECT_EQ(fd.error(), EPERM);
  });
}

TEST(FileHandleOfTest, SaysWhenAFileSystemHasNone) {
  const UniqueFd proc(::open("/proc/self/status", O_PATH | O_CLOEXEC));
  auto handle = FileHandle::of(proc.borrow());
  ASSERT_FALSE(handle.has_value());
  EXPECT_EQ(handle.error(), EOPNOTSUPP);
}

}  // namespace
}  // namespace passthroughfs
