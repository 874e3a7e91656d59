// SPDX-License-Identifier: Apache-2.0
//
// What `checkpoint`, `dirty` and `watch` tell of a mount, case by case; conformance/changes_* has
// the random ones.
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "support/loop_image.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using Changes = std::map<std::string, std::string>;

std::string chomp(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string checkpoint(const Mount& mount) {
  const ProgramResult result = mount.command({"checkpoint", mount.mnt()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return chomp(result.out);
}

// By path, the kinds joined by commas; "renamed<-FROM".
Changes dirty(const Mount& mount, const std::string& since,
              const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{"dirty", mount.mnt(), "--json"};
  if (!since.empty()) arguments.insert(arguments.end(), {"--since", since});
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProgramResult result = mount.command(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  Changes changes;
  const auto report = nlohmann::json::parse(result.out, nullptr, false);
  if (report.is_discarded()) {
    ADD_FAILURE() << result.out;
    return changes;
  }
  EXPECT_TRUE(report.at("complete"));
  for (const auto& change : report.at("changes")) {
    std::string kinds;
    for (const std::string kind : change.at("kinds")) {
      kinds += (kinds.empty() ? "" : ",") + kind;
      if (kind == "renamed") kinds += "<-" + change.at("from").get<std::string>();
    }
    changes[change.at("path")] = kinds;
  }
  return changes;
}

// Each of the ways that data takes.
class ChangesTest : public MountTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
  }
  MountSettings settings() const override {
    MountSettings settings;
    if (*GetParam() != '\0') settings.options = {GetParam()};
    return settings;
  }
  std::string checkpoint() const { return test::checkpoint(mount()); }
  Changes since(const std::string& token) const { return dirty(mount(), token); }
  Changes spelled(const std::string& token) const {
    return dirty(mount(), token, {"--no-renames"});
  }
  UniqueFd open(std::string_view name, int flags) const {
    UniqueFd fd(::open(mnt(name).c_str(), flags | O_CLOEXEC, 0644));
    EXPECT_TRUE(fd.valid()) << name;
    return fd;
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, ChangesTest,
                         ::testing::Values("io=passthrough", "io=daemon", "handles=stateless"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           return name.substr(name.find('=') + 1);
                         });

TEST_P(ChangesTest, WhatWasMadeIsToldAndWhatCameAndWentIsNot) {
  write_file(mnt("a"), "text");
  make_dir(mnt("d"));
  write_file(mnt("d/b"), "text");
  ASSERT_EQ(symlink("a", mnt("link").c_str()), 0);
  ASSERT_EQ(mkfifo(mnt("fifo").c_str(), 0600), 0);
  write_file(mnt("passing"), "text");
  ASSERT_EQ(unlink(mnt("passing").c_str()), 0);
  EXPECT_THAT(since(""), UnorderedElementsAre(Pair("a", "created"), Pair("d", "created"),
                                              Pair("d/b", "created"), Pair("fifo", "created"),
                                              Pair("link", "created")));
}

TEST_P(ChangesTest, AFileThatWasOpenedForWritingAndNotWrittenIsNotTold) {
  write_file(source("a"), "text");
  const std::string token = checkpoint();
  for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND}) (void)open("a", flags);
  EXPECT_THAT(since(token), IsEmpty());
  const UniqueFd held = open("a", O_RDWR);
  EXPECT_THAT(since(token), IsEmpty());
  EXPECT_THAT(since(checkpoint()), IsEmpty());
}

TEST_P(ChangesTest, EachWayToChangeContentIsTold) {
  for (const char* name : {"write", "append", "path", "handle", "trunc", "hole", "copy", "still"}) {
    write_file(source(name), std::string(10000, 'x'));
  }
  const std::string token = checkpoint();
  EXPECT_EQ(pwrite(open("write", O_WRONLY).get(), "y", 1, 5), 1);
  EXPECT_EQ(::write(open("append", O_WRONLY | O_APPEND).get(), "y", 1), 1);
  EXPECT_EQ(truncate(mnt("path").c_str(), 5), 0);
  EXPECT_EQ(ftruncate(open("handle", O_RDWR).get(), 20000), 0);
  (void)open("trunc", O_WRONLY | O_TRUNC);
  EXPECT_EQ(
      fallocate(open("hole", O_RDWR).get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096),
      0);
  off_t from = 0;
  off_t to = 100;
  EXPECT_EQ(copy_file_range(open("still", O_RDONLY).get(), &from, open("copy", O_WRONLY).get(), &to,
                            50, 0),
            50);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("write", "data"), Pair("append", "data"),
                                                 Pair("path", "data"), Pair("handle", "data"),
                                                 Pair("trunc", "data"), Pair("hole", "data"),
                                                 Pair("copy", "data")));
}

TEST_P(ChangesTest, AWriteThatRestoresTheTimeIsTold) {
  write_file(source("a"), "text");
  const std::string token = checkpoint();
  struct stat before {};
  ASSERT_EQ(stat(mnt("a").c_str(), &before), 0);
  const UniqueFd fd = open("a", O_RDWR);
  EXPECT_EQ(pwrite(fd.get(), "next", 4, 0), 4);
  const timespec times[2] = {before.st_atim, before.st_mtim};
  EXPECT_EQ(futimens(fd.get(), times), 0);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("a", "data")));
}

TEST_P(ChangesTest, AStoreThroughAMappingIsToldAfterCloseAndOverACheckpoint) {
  write_file(source("a"), std::string(4096, 'x'));
  char* memory = nullptr;
  {
    const UniqueFd fd = open("a", O_RDWR);
    void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    memory = static_cast<char*>(mapped);
  }
  EXPECT_EQ(memory[0], 'x');  // the page is there before it is written to
  const std::string first = checkpoint();
  EXPECT_THAT(since(first), IsEmpty());
  memory[1] = 'y';
  ASSERT_EQ(msync(memory, 4096, MS_SYNC), 0);
  EXPECT_THAT(since(first), UnorderedElementsAre(Pair("a", "data")));
  const std::string second = checkpoint();
  EXPECT_THAT(since(second), IsEmpty());
  memory[2] = 'z';
  ASSERT_EQ(munmap(memory, 4096), 0);
  EXPECT_TRUE(wait_until([&] { return read_file(source("a"))[2] == 'z'; }));
  EXPECT_THAT(since(second), UnorderedElementsAre(Pair("a", "data")));
}

TEST_P(ChangesTest, AttributesAreComparedAndTimesCountIfAProgramSetsThem) {
  for (const char* name : {"mode", "owner", "back", "touched"}) write_file(source(name), "x");
  const std::string token = checkpoint();
  EXPECT_EQ(chmod(mnt("mode").c_str(), 0600), 0);
  EXPECT_EQ(chown(mnt("owner").c_str(), 1000, 1000), 0);
  EXPECT_EQ(chmod(mnt("back").c_str(), 0600), 0);
  EXPECT_EQ(chmod(mnt("back").c_str(), 0644), 0);
  const timespec times[2] = {{1, 0}, {2, 0}};
  EXPECT_EQ(utimensat(AT_FDCWD, mnt("touched").c_str(), times, 0), 0);
  EXPECT_THAT(since(token),
              UnorderedElementsAre(Pair("mode", "attributes"), Pair("owner", "attributes"),
                                   Pair("touched", "attributes")));
}

TEST_P(ChangesTest, ExtendedAttributesAreComparedToo) {
  for (const char* name : {"set", "back", "gone"}) write_file(source(name), "x");
  ASSERT_EQ(setxattr(source("gone").c_str(), "user.a", "1", 1, 0), 0);
  const std::string token = checkpoint();
  EXPECT_EQ(setxattr(mnt("set").c_str(), "user.a", "1", 1, 0), 0);
  EXPECT_EQ(setxattr(mnt("back").c_str(), "user.a", "1", 1, 0), 0);
  EXPECT_EQ(removexattr(mnt("back").c_str(), "user.a"), 0);
  EXPECT_EQ(removexattr(mnt("gone").c_str(), "user.a"), 0);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("set", "xattr"), Pair("gone", "xattr")));
}

TEST_P(ChangesTest, CapabilitiesThatAFileLosesByAnotherChangeAreTold) {
  const vfs_cap_data capabilities{VFS_CAP_REVISION_2, {{1U << CAP_NET_RAW, 0}, {0, 0}}};
  const auto has_them = [this](const std::string& name) {
    return getxattr(source(name).c_str(), "security.capability", nullptr, 0) > 0;
  };
  for (const char* name : {"write", "trunc", "truncate", "owner", "opened", "mode"}) {
    write_file(source(name), "text", 0755);
    ASSERT_EQ(
        setxattr(source(name).c_str(), "security.capability", &capabilities, XATTR_CAPS_SZ_2, 0), 0)
        << errno_name(errno);
  }
  const std::string token = checkpoint();
  EXPECT_EQ(pwrite(open("write", O_WRONLY).get(), "y", 1, 0), 1);
  (void)open("trunc", O_WRONLY | O_TRUNC);
  EXPECT_EQ(truncate(mnt("truncate").c_str(), 2), 0);
  EXPECT_EQ(chown(mnt("owner").c_str(), 1000, 1000), 0);
  (void)open("opened", O_RDWR);
  EXPECT_EQ(chmod(mnt("mode").c_str(), 0700), 0);
  for (const char* name : {"write", "trunc", "truncate", "owner"}) {
    EXPECT_FALSE(has_them(name)) << name;
  }
  EXPECT_TRUE(has_them("opened"));
  EXPECT_TRUE(has_them("mode"));
  EXPECT_THAT(since(token),
              UnorderedElementsAre(Pair("write", "data,xattr"), Pair("trunc", "data,xattr"),
                                   Pair("truncate", "data,xattr"),
                                   Pair("owner", "attributes,xattr"), Pair("mode", "attributes")));
}

TEST_P(ChangesTest, RenamesAreToldAsSuchOrSpelledOut) {
  make_dir(source("d"));
  write_file(source("d/inside"), "1");
  write_file(source("file"), "1");
  write_file(source("chain"), "1");
  write_file(source("back"), "1");
  const std::string token = checkpoint();
  EXPECT_EQ(rename(mnt("d").c_str(), mnt("e").c_str()), 0);
  EXPECT_EQ(rename(mnt("file").c_str(), mnt("e/file").c_str()), 0);
  write_file(mnt("e/file"), "22");
  EXPECT_EQ(rename(mnt("chain").c_str(), mnt("x").c_str()), 0);
  EXPECT_EQ(rename(mnt("x").c_str(), mnt("end").c_str()), 0);
  EXPECT_EQ(rename(mnt("back").c_str(), mnt("x").c_str()), 0);
  EXPECT_EQ(rename(mnt("x").c_str(), mnt("back").c_str()), 0);
  EXPECT_THAT(since(token),
              UnorderedElementsAre(Pair("e", "renamed<-d"), Pair("e/file", "data,renamed<-file"),
                                   Pair("end", "renamed<-chain")));
  EXPECT_THAT(spelled(token),
              UnorderedElementsAre(Pair("d", "deleted"), Pair("d/inside", "deleted"),
                                   Pair("e", "created"), Pair("e/inside", "created"),
                                   Pair("e/file", "created"), Pair("file", "deleted"),
                                   Pair("chain", "deleted"), Pair("end", "created")));
}

TEST_P(ChangesTest, AnotherFileInThePlaceOfOneIsData) {
  for (const char* name : {"saved", "again", "x", "y"}) write_file(source(name), name);
  const std::string token = checkpoint();
  write_file(mnt("saved.tmp"), "new");
  EXPECT_EQ(rename(mnt("saved.tmp").c_str(), mnt("saved").c_str()), 0);
  EXPECT_EQ(unlink(mnt("again").c_str()), 0);
  write_file(mnt("again"), "anew");
  EXPECT_EQ(renameat2(AT_FDCWD, mnt("x").c_str(), AT_FDCWD, mnt("y").c_str(), RENAME_EXCHANGE), 0);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("saved", "data"), Pair("again", "data"),
                                                 Pair("x", "renamed<-y"), Pair("y", "renamed<-x")));
  EXPECT_THAT(spelled(token), UnorderedElementsAre(Pair("saved", "data"), Pair("again", "data"),
                                                   Pair("x", "data"), Pair("y", "data")));
}

TEST_P(ChangesTest, AChangeIsToldUnderAllNamesOfAFile) {
  make_dir(source("d"));
  write_file(source("a"), "text");
  std::filesystem::create_hard_link(source("a"), source("d/b"));
  const std::string token = checkpoint();
  write_file(mnt("a"), "other");
  EXPECT_EQ(::link(mnt("a").c_str(), mnt("c").c_str()), 0);
  EXPECT_THAT(since(token),
              UnorderedElementsAre(Pair("a", "data"), Pair("d/b", "data"), Pair("c", "created")));
}

TEST_P(ChangesTest, AFileWithoutANameIsToldWhenItGetsOne) {
  const std::string token = checkpoint();
  const UniqueFd fd(::open(mount().mnt().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644));
  ASSERT_TRUE(fd.valid());
  ASSERT_EQ(::write(fd.get(), "x", 1), 1);
  EXPECT_THAT(since(token), IsEmpty());
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  ASSERT_EQ(linkat(AT_FDCWD, link.c_str(), AT_FDCWD, mnt("named").c_str(), AT_SYMLINK_FOLLOW), 0);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("named", "created")));
}

// The recipe of README.md.
TEST_P(ChangesTest, TheListsAreReadyForRsync) {
  for (const char* name : {"d", "gone", "becomes_file"}) make_dir(source(name));
  for (const char* name : {"gone/file", "becomes_file/x", "d/a", "still", "time", "becomes_dir"}) {
    write_file(source(name), "1");
  }
  const std::string backup = mount().tree().make_dir("backup");
  ASSERT_EQ(run_program({"rsync", "-a", source("") + "/", backup + "/"}).exit_code, 0);
  const std::string token = checkpoint();
  write_file(mnt("d/a"), "22");
  write_file(mnt("new\nline"), "1");
  write_file(mnt("bytes\xFF"), "1");
  std::filesystem::remove_all(mnt("gone"));
  std::filesystem::rename(mnt("d"), mnt("e"));
  std::filesystem::remove_all(mnt("becomes_file"));
  write_file(mnt("becomes_file"), "1");
  ASSERT_EQ(unlink(mnt("becomes_dir").c_str()), 0);
  make_dir(mnt("becomes_dir"));
  write_file(mnt("becomes_dir/x"), "1");
  // With the size and time that it had.
  struct stat before {};
  ASSERT_EQ(stat(mnt("time").c_str(), &before), 0);
  write_file(mnt("time"), "2");
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, mnt("time").c_str(), times, 0), 0);
  const std::string script =
      "cd $HERE &&\n"
      "$PFS dirty $MNT --since $TOKEN -0 --deleted >gone &&\n"
      "$PFS dirty $MNT --since $TOKEN -0 >changed &&\n"
      "(cd $BACKUP && xargs -0 -r rm -rf --) <gone &&\n"
      "rsync -aAXI --from0 --files-from=changed $MNT/ $BACKUP/ &&\n"
      "diff -r $MNT $BACKUP\n";
  auto environment = mount().environment();
  environment.insert(
      environment.end(),
      {"PFS=" + program_path(), "MNT=" + mnt(""), "TOKEN=" + token, "BACKUP=" + backup,
       "HERE=" + mount().tree().path(), "PATH=" + std::string(getenv("PATH"))});
  const ProgramResult result = run_program({"sh", "-c", script}, environment);
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
}

// ---- tokens and journals ------------------------------------------------------------------------

class JournalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    source_ = tree_.make_dir("kept");
  }
  std::unique_ptr<Mount> mount(const std::string& journal, bool killed = false) {
    MountSettings settings;
    settings.options = {"journal=" + journal};
    settings.source = source_;
    settings.broken_on_purpose = killed;
    auto mount = std::make_unique<Mount>(settings);
    EXPECT_TRUE(mount->ok());
    return mount;
  }
  std::string refused(const Mount& mount, const std::string& token) {
    const ProgramResult result = mount.command({"dirty", mount.mnt(), "--since", token});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.out, "");
    return result.err;
  }

  TempTree tree_;
  std::string source_;
};

TEST_F(JournalTest, TokensOutliveARestart) {
  const std::string journal = tree_ / "journal";
  write_file(source_ + "/a", "1");
  std::string token;
  {
    auto first = mount(journal);
    token = checkpoint(*first);
    write_file(first->mnt("a"), "22");
    first->stop();
  }
  auto second = mount(journal);
  write_file(second->mnt("b"), "1");
  EXPECT_THAT(dirty(*second, token), UnorderedElementsAre(Pair("a", "data"), Pair("b", "created")));
  // Without a token: since this mount was made.
  EXPECT_THAT(dirty(*second, ""), UnorderedElementsAre(Pair("b", "created")));
}

TEST_F(JournalTest, TokensOutliveSigkill) {
  const std::string journal = tree_ / "journal";
  write_file(source_ + "/a", "1");
  std::string token;
  {
    auto first = mount(journal, true);
    token = checkpoint(*first);
    write_file(first->mnt("a"), "22");
    for (int i = 0; i < 50; ++i) write_file(first->mnt("n" + std::to_string(i)), "1");
    ASSERT_EQ(kill(first->pid(), SIGKILL), 0);
    EXPECT_EQ(first->wait_for_exit(), -1);
  }
  auto second = mount(journal);
  const Changes changes = dirty(*second, token);
  EXPECT_EQ(changes.size(), 51U);
  EXPECT_EQ(changes.at("a"), "data");
  EXPECT_EQ(changes.at("n49"), "created");
}

TEST_F(JournalTest, TokensThatAreNoneAreRefused) {
  auto first = mount("memory");
  auto other = mount("memory");
  EXPECT_THAT(refused(*first, "nonsense"), HasSubstr("is not a token"));
  EXPECT_THAT(refused(*first, ""), HasSubstr("is not a token"));
  EXPECT_THAT(refused(*first, checkpoint(*other)), HasSubstr("another journal"));
}

TEST_F(JournalTest, ForgottenTokensAreRefused) {
  auto one = mount("memory");
  const std::string old = checkpoint(*one);
  write_file(one->mnt("a"), "1");
  const std::string token = checkpoint(*one);
  EXPECT_EQ(checkpoint(*one), token);
  const ProgramResult done = one->command({"checkpoint", one->mnt(), "--forget-before", token});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(refused(*one, old), HasSubstr("has been forgotten"));
  EXPECT_THAT(dirty(*one, token), IsEmpty());
}

TEST_F(JournalTest, WithoutAJournalEachCommandSaysSo) {
  auto one = mount("off");
  write_file(one->mnt("a"), "1");
  for (const char* command : {"checkpoint", "dirty", "watch"}) {
    const ProgramResult result = one->command({command, one->mnt()});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("journal=off"));
  }
}

TEST_F(JournalTest, AForeignFileIsRefusedAndLeftAlone) {
  const std::string mnt = tree_.make_dir("mnt");
  for (const std::string& content :
       {std::string("a letter"), std::string(5000, '\0'),
        std::string("SQLite format 3\0", 16) + std::string(4080, 'x')}) {
    const std::string file = tree_ / "foreign";
    write_file(file, content);
    const ProgramResult result =
        run_program({program_path(), source_, mnt, "-o", "journal=" + file});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("it was left untouched"));
    EXPECT_EQ(read_file(file), content);
  }
}

TEST_F(JournalTest, TheJournalOfAnotherSourceIsRefused) {
  const std::string journal = tree_ / "journal";
  mount(journal)->stop();
  const ProgramResult result = run_program(
      {program_path(), tree_.make_dir("other"), tree_.make_dir("mnt"), "-o", "journal=" + journal});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("belongs to another source"));
}

TEST_F(JournalTest, TwoMountsDoNotShareAJournal) {
  const std::string journal = tree_ / "journal";
  auto first = mount(journal);
  const ProgramResult result =
      run_program({program_path(), source_, tree_.make_dir("mnt"), "-o", "journal=" + journal});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("in use by another mount"));
}

// `passthroughfs watch` on a mount, for as long as the object lives or the mount does.
class Watch {
 public:
  Watch(const Mount& mount, const std::string& since)
      : output_(mount.tree() / "watched"), child_([&, this] {
          const int out = ::open(output_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
          dup2(out, STDOUT_FILENO);
          exec_program({program_path(), "watch", mount.mnt(), "--since", since},
                       mount.environment());
        }) {}
  // Whether it says so now, whatever else it says.
  bool tells(const std::string& path, const std::string& kind) const {
    std::istringstream lines(read_all(output_));
    for (std::string line; std::getline(lines, line);) {
      const auto told = nlohmann::json::parse(line, nullptr, false);  // one may be half written
      if (told.is_discarded() || told.value("path", "") != path) continue;
      const std::vector<std::string> kinds = told.at("kinds");
      if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) return true;
    }
    return false;
  }
  // With exit code 0, and nothing on stderr of the test that would be a failure.
  bool ends_well() { return child_.join(); }

 private:
  const std::string output_;
  Child child_;
};

TEST_F(JournalTest, AWatchTellsWhatHappensAndEndsWithTheMount) {
  write_file(source_ + "/a", "1");
  auto one = mount(tree_ / "journal");
  const std::string token = checkpoint(*one);
  write_file(one->mnt("before"), "1");
  Watch watch(*one, token);
  EXPECT_TRUE(wait_until([&] { return watch.tells("before", "created"); }));
  write_file(one->mnt("a"), "22");
  EXPECT_TRUE(wait_until([&] { return watch.tells("a", "data"); }));
  ASSERT_EQ(rename(one->mnt("a").c_str(), one->mnt("b").c_str()), 0);
  EXPECT_TRUE(wait_until([&] { return watch.tells("b", "renamed"); }));
  // It is told, however soon the end comes.
  write_file(one->mnt("last"), "1");
  one->stop();
  EXPECT_TRUE(watch.ends_well());
  EXPECT_TRUE(watch.tells("last", "created"));
}

// A journal on a file system that is full.
class FullJournalTest : public JournalTest {
 protected:
  static constexpr int kMany = 400;

  void SetUp() override {
    JournalTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!disk_.ok()) GTEST_SKIP() << "no disk to fill: " << disk_.why();
    journal_ = disk_ / "journal";
    write_file(source_ + "/a", "1");
  }
  void fill() const {
    const UniqueFd rest(::open(filling().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(rest.valid());
    const std::string block(4096, 'x');
    ssize_t written = 0;
    while ((written = ::write(rest.get(), block.data(), block.size())) > 0) {
    }
    ASSERT_EQ(errno_name(errno), "ENOSPC");
    // What was written before the disk was full may still need room there.
    ASSERT_EQ(fsync(rest.get()), 0);
  }
  void make_room() const { ASSERT_EQ(unlink(filling().c_str()), 0); }
  std::string filling() const { return disk_ / "filling"; }

  void change(const Mount& mount) const {
    write_file(mount.mnt("a"), "22");
    make_dir(mount.mnt("d"));
    for (int i = 0; i < kMany; ++i) {
      write_file(mount.mnt("d/" + std::string(200, 'n') + std::to_string(i)), "1");
    }
  }
  static void expect_all(const Changes& changes) {
    EXPECT_EQ(changes.size(), 2U + kMany);
    EXPECT_THAT(changes, testing::Contains(Pair("a", "data")));
    EXPECT_THAT(changes, testing::Contains(Pair("d", "created")));
  }
  // One line that says why, or an answer that says that it is none.
  static void expect_no_answer(const Mount& mount, const std::string& token) {
    const ProgramResult result = mount.command({"dirty", mount.mnt(), "--since", token});
    EXPECT_THAT(result.exit_code, testing::AnyOf(1, 3));
    EXPECT_THAT(result.err, HasSubstr("full"));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
  // In the end the record can be written again, and nothing is missing.
  static void expect_all_in_the_end(const Mount& mount, const std::string& token) {
    EXPECT_TRUE(wait_until([&] {
      return mount.command({"dirty", mount.mnt(), "--since", token}).exit_code == 0;
    })) << mount.log();
    expect_all(dirty(mount, token));
  }

  LoopImage disk_{16 << 20, {"mkfs.ext4", "-q", "-F", "-O", "^has_journal"}};
  std::string journal_;
};

TEST_F(FullJournalTest, TheMountGoesOnAndWhatHappenedMeanwhileIsToldLater) {
  auto one = mount(journal_);
  const std::string token = checkpoint(*one);
  ASSERT_NO_FATAL_FAILURE(fill());
  change(*one);
  EXPECT_EQ(read_file(one->mnt("a")), "22");
  expect_no_answer(*one, token);
  EXPECT_EQ(one->command({"checkpoint", one->mnt()}).exit_code, 1);
  ASSERT_NO_FATAL_FAILURE(make_room());
  expect_all_in_the_end(*one, token);
  // It is as good as new.
  const std::string next = checkpoint(*one);
  write_file(one->mnt("late"), "1");
  EXPECT_THAT(dirty(*one, next), UnorderedElementsAre(Pair("late", "created")));
}

TEST_F(FullJournalTest, WhatWasNotRecordedAtTheEndIsToldByTheNextMount) {
  std::string token;
  {
    auto first = mount(journal_);
    token = checkpoint(*first);
    ASSERT_NO_FATAL_FAILURE(fill());
    change(*first);
    first->stop();
  }
  ASSERT_NO_FATAL_FAILURE(make_room());
  expect_all_in_the_end(*mount(journal_), token);
}

}  // namespace
}  // namespace passthroughfs::test
