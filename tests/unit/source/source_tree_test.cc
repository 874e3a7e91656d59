// SPDX-License-Identifier: Apache-2.0
#include "source/source_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string>

#include "source/sys.h"
#include "support/successor.h"
#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

class SourceTreeTest : public ::testing::Test {
 protected:
  SourceTreeTest() : source_(open_source(tree_.make_dir("source"))) {}

  static SourceTree open_source(const std::string& path) {
    std::string message;
    auto source = SourceTree::open(path, message);
    EXPECT_TRUE(source.has_value()) << message;
    return std::move(*source);
  }
  [[nodiscard]] std::string path(const std::string& name) const {
    return tree_ / ("source/" + name);
  }
  void make_file(const std::string& name, const std::string& content = "") const {
    UniqueFd fd(::open(path(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    EXPECT_EQ(::write(fd.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
  }
  [[nodiscard]] UniqueFd child(const std::string& name) const {
    auto fd = source_.child(source_.root(), name.c_str());
    EXPECT_TRUE(fd.has_value()) << name << ": " << fd.error().to_string();
    return std::move(*fd);
  }
  std::string path_of(const UniqueFd& fd, bool expect_deleted = false) const {
    bool deleted = !expect_deleted;
    std::string out = source_.path_of(fd.borrow(), deleted);
    EXPECT_EQ(deleted, expect_deleted) << out;
    return out;
  }

  test::TempTree tree_;
  SourceTree source_;
};

TEST_F(SourceTreeTest, SaysWhyASourceCannotBeOpened) {
  std::string message;
  auto missing = SourceTree::open(path("missing"), message);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error(), ENOENT);
  EXPECT_NE(message.find("missing"), std::string::npos) << message;
  EXPECT_NE(message.find("ENOENT"), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
  make_file("file");
  auto file = SourceTree::open(path("file"), message);
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error(), ENOTDIR);
}

TEST_F(SourceTreeTest, KnowsItsDevice) {
  struct stat st {};
  ASSERT_EQ(::stat(path("").c_str(), &st), 0);
  auto own = sys::stat_at(source_.root());
  EXPECT_EQ(source_.root_device(), device_number(own->stx_dev_major, own->stx_dev_minor));
  EXPECT_EQ(own->stx_ino, st.st_ino);
}

TEST_F(SourceTreeTest, AChildIsNeverFollowed) {
  ASSERT_EQ(::symlink("/", path("link").c_str()), 0);
  EXPECT_TRUE(S_ISLNK(sys::stat_at(child("link").borrow())->stx_mode));
}

TEST_F(SourceTreeTest, AMissingChildIsENOENTAndAFileHasNone) {
  auto missing = source_.child(source_.root(), "missing");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error(), ENOENT);
  make_file("file");
  auto below = source_.child(child("file").borrow(), "x");
  ASSERT_FALSE(below.has_value());
  EXPECT_EQ(below.error(), ENOTDIR);
}

TEST_F(SourceTreeTest, OpeningAFifosChildDescriptorDoesNotBlock) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(S_ISFIFO(sys::stat_at(child("fifo").borrow())->stx_mode));
}

TEST_F(SourceTreeTest, ReopensWithADescriptionOfItsOwn) {
  make_file("file", "content");
  const UniqueFd fd = child("file");
  auto first = source_.reopen(fd.borrow(), O_RDONLY);
  auto second = source_.reopen(fd.borrow(), O_RDWR);
  ASSERT_TRUE(first.has_value());
  ASSERT_TRUE(second.has_value());
  char letter = 0;
  EXPECT_EQ(::read(first->get(), &letter, 1), 1);
  EXPECT_EQ(::lseek(second->get(), 0, SEEK_CUR), 0) << "its own position";
  EXPECT_EQ(::write(first->get(), "x", 1), -1);
  EXPECT_EQ(::write(second->get(), "x", 1), 1);
  EXPECT_EQ(::fcntl(first->get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(SourceTreeTest, ReopeningIgnoresWhatIsForNames) {
  make_file("file", "content");
  auto fd = source_.reopen(child("file").borrow(), O_RDWR | O_NOFOLLOW | O_CREAT | O_EXCL);
  ASSERT_TRUE(fd.has_value()) << fd.error().to_string();
  char letter = 0;
  EXPECT_EQ(::read(fd->get(), &letter, 1), 1) << "it is the same file";
}

TEST_F(SourceTreeTest, ReopensAFileThatHasNoNameAnyMore) {
  make_file("file", "content");
  const UniqueFd fd = child("file");
  ASSERT_EQ(::unlink(path("file").c_str()), 0);
  make_file("file", "another");
  auto again = source_.reopen(fd.borrow(), O_RDONLY);
  ASSERT_TRUE(again.has_value());
  char letter = 0;
  EXPECT_EQ(::read(again->get(), &letter, 1), 1);
  EXPECT_EQ(letter, 'c');
}

TEST_F(SourceTreeTest, ReopensADirectory) {
  ASSERT_EQ(::mkdir(path("directory").c_str(), 0700), 0);
  const UniqueFd fd = child("directory");
  EXPECT_TRUE(source_.reopen(fd.borrow(), O_RDONLY | O_DIRECTORY).has_value());
  auto written = source_.reopen(fd.borrow(), O_WRONLY);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error(), EISDIR);
}

TEST_F(SourceTreeTest, ThePathOfTheRootIsEmpty) {
  auto root = duplicate(source_.root());
  EXPECT_EQ(path_of(*root), "");
}

TEST_F(SourceTreeTest, APathIsRelativeToTheSourceAndFollowsRenames) {
  ASSERT_EQ(::mkdir(path("a").c_str(), 0700), 0);
  make_file("a/file");
  auto directory = child("a");
  const UniqueFd file = std::move(*source_.child(directory.borrow(), "file"));
  EXPECT_EQ(path_of(directory), "a");
  EXPECT_EQ(path_of(file), "a/file");
  ASSERT_EQ(::rename(path("a").c_str(), path("b").c_str()), 0);
  EXPECT_EQ(path_of(file), "b/file");
  ASSERT_EQ(::rename(path("b/file").c_str(), path("moved").c_str()), 0);
  EXPECT_EQ(path_of(file), "moved");
}

TEST_F(SourceTreeTest, APathFollowsTheSourceItself) {
  make_file("file");
  const UniqueFd file = child("file");
  ASSERT_EQ(::rename((tree_ / "source").c_str(), (tree_ / "elsewhere").c_str()), 0);
  EXPECT_EQ(path_of(file), "file");
}

TEST_F(SourceTreeTest, ASiblingWithALongerNameIsNotBelowTheSource) {
  const std::string sibling = tree_.make_dir("source2");
  const UniqueFd fd(::open(sibling.c_str(), O_PATH | O_CLOEXEC));
  EXPECT_EQ(path_of(fd), sibling);
}

TEST_F(SourceTreeTest, ADeletedFileKeepsItsLastPath) {
  make_file("file");
  const UniqueFd file = child("file");
  ASSERT_EQ(::unlink(path("file").c_str()), 0);
  EXPECT_EQ(path_of(file, true), "file");
  ASSERT_EQ(::mkdir(path("directory").c_str(), 0700), 0);
  const UniqueFd directory = child("directory");
  ASSERT_EQ(::rmdir(path("directory").c_str()), 0);
  EXPECT_EQ(path_of(directory, true), "directory");
}

TEST_F(SourceTreeTest, AFileWithAnotherNameLeftIsNotDeleted) {
  make_file("file");
  const UniqueFd file = child("file");
  ASSERT_EQ(::link(path("file").c_str(), path("other").c_str()), 0);
  ASSERT_EQ(::unlink(path("file").c_str()), 0);
  EXPECT_EQ(path_of(file), "file") << "the name by which it was opened";
}

TEST_F(SourceTreeTest, AFileMayBeCalledDeleted) {
  make_file("file (deleted)");
  const UniqueFd file = child("file (deleted)");
  EXPECT_EQ(path_of(file), "file (deleted)");
  ASSERT_EQ(::unlink(path("file (deleted)").c_str()), 0);
  EXPECT_EQ(path_of(file, true), "file (deleted)");
}

TEST_F(SourceTreeTest, TheFileSystemsRootIsASourceToo) {
  SourceTree everything = open_source("/");
  bool deleted = false;
  make_file("file");
  EXPECT_EQ("/" + everything.path_of(child("file").borrow(), deleted), path("file"));
  EXPECT_EQ(everything.path_of(everything.root(), deleted), "");
}

TEST_F(SourceTreeTest, ASuccessorReopensThroughItsOwnProc) {
  make_file("file", "content");
  Regions regions;
  ASSERT_TRUE(source_.keep(regions));
  const UniqueFd file = child("file");
  const std::set<int> before = test::descriptor_numbers();
  for (int server = 0; server < 3; ++server) {
    ASSERT_EQ(test::run_sharing([&]() -> int {
                std::string message;
                if (!source_.recover(message)) return 1;
                // Not through that of a process that has gone.
                std::string proc;
                source_.for_each_descriptor([&](int fd) {
                  bool deleted = false;
                  proc = source_.path_of(BorrowedFd(fd), deleted);
                });
                if (!proc.ends_with("/" + std::to_string(::getpid()) + "/fd")) return 2;
                auto again = source_.reopen(file.borrow(), O_RDONLY);
                char letter = 0;
                if (!again || ::read(again->get(), &letter, 1) != 1 || letter != 'c') return 3;
                test::die();
              }),
              "signal 9");
    // The one that was reopened, and the server's /proc.
    EXPECT_EQ(test::descriptor_numbers().size(), before.size() + 2);
    test::close_all_but(before);
  }
  EXPECT_EQ(test::descriptor_numbers(), before) << "what was open at first is not theirs to close";
  EXPECT_TRUE(source_.reopen(file.borrow(), O_RDONLY));
  source_.for_each_descriptor([](int fd) { ADD_FAILURE() << fd; });
}

}  // namespace
}  // namespace passthroughfs
