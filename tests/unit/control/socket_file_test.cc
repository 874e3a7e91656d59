// SPDX-License-Identifier: Apache-2.0
#include "control/socket_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

const dev_t kDevice = makedev(0, 4000);

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

TEST(SocketFile, IsForItsOwnerOnlyAndGoesAway) {
  test::TempTree tree;
  {
    const auto file = SocketFile::create(kDevice, {tree / "new"});
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->path(), tree / "new/0:4000.sock");
    struct stat st {};
    ASSERT_EQ(stat(file->path().c_str(), &st), 0);
    EXPECT_TRUE(S_ISSOCK(st.st_mode));
    EXPECT_EQ(st.st_mode & 07777U, 0600U);
    ASSERT_EQ(stat((tree / "new").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777U, 0700U);
  }
  EXPECT_FALSE(exists(tree / "new"));
}

TEST(SocketFile, LeavesADirectoryThatOthersUse) {
  test::TempTree tree;
  const auto other = SocketFile::create(makedev(0, 4001), {tree / "d"});
  ASSERT_TRUE(other);
  { ASSERT_TRUE(SocketFile::create(kDevice, {tree / "d"})); }
  EXPECT_TRUE(exists(other->path()));
}

TEST(SocketFile, ReplacesAStaleSocket) {
  test::TempTree tree;
  auto stale = SocketFile::create(kDevice, {tree / "d"});
  ASSERT_TRUE(stale);
  const auto file = SocketFile::create(kDevice, {tree / "d"});
  EXPECT_TRUE(file) << file.error().message;
}

TEST(SocketFile, DoesNotRemoveItsSuccessor) {
  test::TempTree tree;
  std::optional<SocketFile> first;
  {
    auto made = SocketFile::create(kDevice, {tree / "d"});
    ASSERT_TRUE(made);
    first.emplace(std::move(made).value());
  }
  const auto second = SocketFile::create(kDevice, {tree / "d"});
  ASSERT_TRUE(second);
  first.reset();
  EXPECT_TRUE(exists(second->path()));
}

TEST(SocketFile, TakesTheFirstDirectoryThatItCanUse) {
  test::TempTree tree;
  tree.make_dir("open", 0777);
  ASSERT_EQ(symlink(tree.make_dir("target").c_str(), (tree / "link").c_str()), 0);
  const auto file = SocketFile::create(
      kDevice, {tree / "missing/deep", tree / "open", tree / "link", tree / "good", tree / "late"});
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->path(), tree / "good/0:4000.sock");
}

TEST(SocketFile, SaysForEachDirectoryWhyItCannotBeUsed) {
  test::TempTree tree;
  tree.make_dir("open", 0777);
  const auto file = SocketFile::create(kDevice, {tree / "missing/deep", tree / "open"});
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, EPERM);
  EXPECT_NE(file.error().message.find("missing/deep: ENOENT"), std::string::npos)
      << file.error().message;
}

TEST(SocketFile, WorksInADirectoryWithALongPath) {
  test::TempTree tree;
  std::string path = tree.path();
  for (int i = 0; i < 4; ++i) {
    path += "/" + std::string(100, 'x');
    ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  }
  const auto file = SocketFile::create(kDevice, {path});
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_TRUE(exists(file->path()));
}

}  // namespace
}  // namespace passthroughfs
