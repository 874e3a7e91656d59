// SPDX-License-Identifier: Apache-2.0
//
// What the commands say of a real mount on which something is known to have happened.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/json.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::set<std::string> keys_of(const Json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

class CommandsTest : public MountTest {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    MountTest::SetUp();
  }
  std::string text(const std::vector<std::string>& arguments) const {
    const ProgramResult result = mount().command(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
  }
  Json json(const std::vector<std::string>& arguments) const {
    const std::string said = text(arguments);
    Json parsed = parse_json(said);
    EXPECT_FALSE(parsed.is_discarded()) << said;
    return parsed;
  }
  Json handles() const { return json({"handles", mount().mnt(), "--json"}); }
  Json stats() const { return json({"stats", mount().mnt(), "--json"}); }

  // Those rows of `handles` that fulfil `wanted`, as soon as there are `count`.
  template <typename Wanted>
  std::vector<Json> wait_for(std::size_t count, const Wanted& wanted) const {
    std::vector<Json> rows;
    Json all;
    EXPECT_TRUE(wait_until([&] {
      all = handles();
      rows.clear();
      for (const Json& row : all) {
        if (wanted(row)) rows.push_back(row);
      }
      return rows.size() == count;
    })) << rows.size()
        << " rows instead of " << count << " in " << to_text(all);
    rows.resize(count, Json::object());
    return rows;
  }
  Json by_path(const std::string& path) const {
    return wait_for(1, [&](const Json& row) { return row.value("path", "") == path; })[0];
  }
};

// --- handles ------------------------------------------------------------------------------------

class HandlesCommandTest : public CommandsTest {
 protected:
  void SetUp() override {
    CommandsTest::SetUp();
    if (!IsSkipped()) PFS_NEEDS_HANDLES();
  }
};

bool has_flag(const Json& row, const std::string& flag) {
  const Json flags = row.value("flags", Json::array());
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

TEST_F(HandlesCommandTest, ListsWhatIsOpenAndNothingElse) {
  EXPECT_EQ(handles(), Json::array());
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  ASSERT_TRUE(fd.valid());
  const Json row = by_path("f");
  EXPECT_EQ(keys_of(row),
            (std::set<std::string>{"fh", "path", "flags", "nodeid", "io", "pid", "opened", "reads",
                                   "writes", "bytes_read", "bytes_written", "deleted"}));
  EXPECT_TRUE(has_flag(row, "O_RDWR")) << row;
  EXPECT_TRUE(has_flag(row, "O_APPEND")) << row;
  EXPECT_FALSE(has_flag(row, "O_RDONLY")) << row;
  EXPECT_EQ(row["pid"], getpid());
  EXPECT_EQ(row["deleted"], false);
  EXPECT_TRUE(row["io"] == "passthrough" || row["io"] == "daemon") << row;
  if (mount().has_option("io=daemon")) {
    EXPECT_EQ(row["io"], "daemon");
  }
  // 2026-05-06T07:08:09..., now or a little later.
  std::tm utc{};
  ASSERT_NE(strptime(row["opened"].get<std::string>().c_str(), "%Y-%m-%dT%H:%M:%S", &utc), nullptr)
      << row;
  EXPECT_GE(timegm(&utc), now - 1);
  EXPECT_LE(timegm(&utc), now + 60);
  fd.reset();
  wait_for(0, [](const Json&) { return true; });
}

TEST_F(HandlesCommandTest, ThePathIsTheOneOfNow) {
  make_dir(mnt("a"));
  make_dir(mnt("a/b"));
  const UniqueFd fd(open(mnt("a/b/f").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  const Json before = by_path("a/b/f");
  ASSERT_EQ(rename(mnt("a/b/f").c_str(), mnt("a/b/g").c_str()), 0);
  const Json renamed = by_path("a/b/g");
  ASSERT_EQ(rename(mnt("a").c_str(), mnt("moved").c_str()), 0);
  const Json parent_renamed = by_path("moved/b/g");
  ASSERT_EQ(rename(source("moved/b").c_str(), source("c").c_str()), 0);
  const Json behind = by_path("c/g");
  for (const Json& row : {renamed, parent_renamed, behind}) {
    EXPECT_EQ(row["fh"], before["fh"]);
    EXPECT_EQ(row["nodeid"], before["nodeid"]);
    EXPECT_EQ(row["deleted"], false);
  }
}

TEST_F(HandlesCommandTest, SaysWhatHasNoNameAnyMore) {
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(link(mnt("f").c_str(), mnt("other").c_str()), 0);
  ASSERT_EQ(unlink(mnt("f").c_str()), 0);
  EXPECT_EQ(wait_for(1, [](const Json&) { return true; })[0]["deleted"], false)
      << "it has another name";
  ASSERT_EQ(unlink(mnt("other").c_str()), 0);
  const UniqueFd unnamed(open(mnt("").c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  const UniqueFd named(open(mnt("named").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_EQ(wait_for(2, [](const Json& row) { return row.value("deleted", false); }).size(), 2U);
  EXPECT_EQ(by_path("named")["deleted"], false);
}

TEST_F(HandlesCommandTest, NodesAreFilesAndHandlesAreOpens) {
  write_file(mnt("one"), "1");
  write_file(mnt("two"), "2");
  ASSERT_EQ(link(mnt("one").c_str(), mnt("same").c_str()), 0);
  std::vector<UniqueFd> open_files;
  for (const char* name : {"one", "same", "two", "one"}) {
    open_files.emplace_back(open(mnt(name).c_str(), O_RDONLY | O_CLOEXEC));
  }
  std::map<std::uint64_t, int> opens;
  std::set<std::uint64_t> numbers;
  for (const Json& row : wait_for(4, [](const Json&) { return true; })) {
    ++opens[row["nodeid"].get<std::uint64_t>()];
    EXPECT_TRUE(numbers.insert(row["fh"].get<std::uint64_t>()).second) << row;
  }
  ASSERT_EQ(opens.size(), 2U);
  EXPECT_EQ(opens.begin()->second + std::next(opens.begin())->second, 4);
  EXPECT_TRUE(opens.begin()->second == 3 || opens.begin()->second == 1);
  // A new file in the place of the old one, which as like as not has its inode number: another
  // node. And a number of a handle does not come back.
  const Json old = by_path("two");
  open_files.clear();
  ASSERT_EQ(unlink(mnt("two").c_str()), 0);
  write_file(mnt("two"), "3");
  wait_for(0, [](const Json&) { return true; });
  open_files.emplace_back(open(mnt("two").c_str(), O_RDONLY | O_CLOEXEC));
  const Json fresh = by_path("two");
  EXPECT_NE(fresh["nodeid"], old["nodeid"]);
  EXPECT_FALSE(numbers.contains(fresh["fh"].get<std::uint64_t>()));
}

TEST_F(HandlesCommandTest, NamesTheProcessThatOpened) {
  const Gate opened;
  write_file(mnt("f"), "content");
  Child child([&] {
    const int fd = open(mnt("f").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    opened.pass();
    pause();
  });
  ASSERT_TRUE(opened.wait());
  EXPECT_EQ(by_path("f")["pid"], child.pid());
  child.kill();
  wait_for(0, [](const Json&) { return true; });
}

TEST_F(HandlesCommandTest, CountsWhatTheDaemonReadsAndWrites) {
  Mount daemon({.options = {"io=daemon"}});
  ASSERT_TRUE(daemon.ok());
  const UniqueFd fd(open(daemon.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  for (int i = 0; i < 5; ++i) ASSERT_EQ(pwrite(fd.get(), "0123456789", 10, i * 10), 10);
  // Whole pages that the kernel has not got.
  const std::string content(100000, 'x');
  write_file(daemon.source("g"), content);
  const UniqueFd other(open(daemon.mnt("g").c_str(), O_RDONLY | O_CLOEXEC));
  std::string buffer(content.size(), ' ');
  ASSERT_EQ(pread(other.get(), buffer.data(), buffer.size(), 0), 100000);
  const Json rows = parse_json(daemon.command({"handles", daemon.mnt(), "--json"}).out);
  ASSERT_EQ(rows.size(), 2U) << rows;
  const Json& f = rows[0]["path"] == "f" ? rows[0] : rows[1];
  const Json& g = rows[0]["path"] == "f" ? rows[1] : rows[0];
  EXPECT_EQ(f["io"], "daemon");
  EXPECT_EQ(f["writes"], 5);
  EXPECT_EQ(f["bytes_written"], 50);
  EXPECT_EQ(f["bytes_read"], 0);
  EXPECT_EQ(g["writes"], 0);
  EXPECT_GE(g["reads"], 1);
  EXPECT_EQ(g["bytes_read"], 100000) << "what the file has, not what was asked for";
}

TEST_F(HandlesCommandTest, OddNamesAndDirectories) {
  const std::string newline = "new\nline \"quoted\"";
  const std::string latin1 = "caf\xe9";
  std::vector<UniqueFd> open_files;
  for (const std::string& name : {newline, latin1}) {
    open_files.emplace_back(open(mnt(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_TRUE(open_files.back().valid());
  }
  make_dir(mnt("d"));
  DIR* dir = opendir(mnt("d").c_str());
  ASSERT_NE(dir, nullptr);
  (void)readdir(dir);
  by_path(newline);
  by_path("caf\xef\xbf\xbd");
  const std::string said = text({"handles", mount().mnt()});
  EXPECT_NE(said.find("new\\nline"), std::string::npos) << said;
  EXPECT_NE(said.find("caf\\351"), std::string::npos) << said;
  EXPECT_EQ(lines_of(said).size(), handles().size() + 1) << said;
  if (handles().size() == 3) {  // opening a directory may be the kernel's own affair
    EXPECT_TRUE(has_flag(by_path("d"), "O_DIRECTORY"));
  }
  closedir(dir);
}

TEST_F(HandlesCommandTest, TextHasALinePerHandle) {
  const UniqueFd fd(open(mnt("some file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  const UniqueFd gone(open(mnt("gone").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(unlink(mnt("gone").c_str()), 0);
  std::vector<std::string> lines = lines_of(text({"handles", mount().mnt()}));
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_TRUE(std::regex_search(lines[0], std::regex("^ *FH +PID +OPENED +IO .* FLAGS +PATH *$")))
      << lines[0];
  if (lines[1].find("gone") != std::string::npos) std::swap(lines[1], lines[2]);
  const std::string pid = std::to_string(getpid());
  EXPECT_TRUE(std::regex_search(
      lines[1], std::regex("^ *[0-9a-f]+ +" + pid + " .*O_RDWR[^ ]* +some file *$")))
      << lines[1];
  EXPECT_TRUE(std::regex_search(lines[2], std::regex("gone.* \\(deleted\\) *$"))) << lines[2];
}

// --- stats --------------------------------------------------------------------------------------

// `operation`'s row; a row of zeroes if it has not occurred.
Json operation(const Json& stats, const std::string& name) {
  for (const Json& row : stats.value("operations", Json::array())) {
    if (row.value("name", "") == name) return row;
  }
  return {{"name", name}, {"count", 0}, {"errors", 0}};
}

// Seven calls that the kernel cannot answer itself, three of them in vain.
void known_calls(const std::string& dir) {
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(mkdir((dir + "/d" + std::to_string(i)).c_str(), 0755), 0);
  }
  ASSERT_EQ(mkdir((dir + "/d0/inside").c_str(), 0755), 0);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(rmdir((dir + "/d0").c_str()), -1);
    ASSERT_EQ(errno, ENOTEMPTY);
  }
  ASSERT_EQ(rmdir((dir + "/d1").c_str()), 0);
  ASSERT_EQ(symlink("target", (dir + "/l").c_str()), 0);
}

TEST_F(CommandsTest, StatsCountsEveryOperation) {
  const Json before = stats();
  known_calls(mount().mnt());
  const Json after = stats();
  auto grown = [&](const char* name, const char* key) {
    return operation(after, name).value(key, -1L) - operation(before, name).value(key, 0L);
  };
  EXPECT_EQ(grown("MKDIR", "count"), 5);
  EXPECT_EQ(grown("MKDIR", "errors"), 0);
  EXPECT_EQ(grown("RMDIR", "count"), 4);
  EXPECT_EQ(grown("RMDIR", "errors"), 3);
  EXPECT_EQ(grown("SYMLINK", "count"), 1);
  const Json mkdirs = operation(after, "MKDIR");
  EXPECT_GT(mkdirs.value("p50_us", 0.0), 0.0);
  EXPECT_LE(mkdirs.value("p50_us", 0.0), mkdirs.value("p90_us", 0.0));
  EXPECT_LE(mkdirs.value("p90_us", 0.0), mkdirs.value("p99_us", 0.0));
  EXPECT_LE(mkdirs.value("p99_us", 0.0), mkdirs.value("max_us", 0.0));
  EXPECT_LT(mkdirs.value("mean_us", 0.0), 60e6);
  long in_buckets = 0;
  for (const Json& bucket : mkdirs["latency_log2_ns"]) in_buckets += bucket.get<long>();
  EXPECT_EQ(in_buckets, mkdirs["count"]);
}

TEST_F(CommandsTest, StatsSaysWhatTheMountIsAndHolds) {
  write_file(mnt("f"), "content");
  const UniqueFd fd(open(mnt("f").c_str(), O_RDONLY | O_CLOEXEC));
  const Json said = stats();
  EXPECT_EQ(said["source"], mount().source());
  EXPECT_EQ(said["mountpoint"], mount().mnt());
  EXPECT_EQ(said["pid"], mount().pid());
  EXPECT_GE(said["inodes"], 2);
  EXPECT_GT(said["table_bytes"], 0);
  EXPECT_GT(said["workers"], 0);
  EXPECT_GE(said["descriptor_limit"], said["descriptor_budget"]);
  EXPECT_EQ(said["lock_waiters"], 0);
  EXPECT_TRUE(said["notes"].is_array());
  EXPECT_EQ(said["cache"], "normal");
  EXPECT_EQ(said["transport"], mount().has_option("transport=uring") ? "uring" : "dev");
  const bool stateless = mount().has_option("handles=stateless");
  EXPECT_EQ(said["handles_mode"], stateless ? "stateless" : "table");
  if (!stateless) {
    EXPECT_TRUE(wait_until([&] { return stats()["handles"] == 1; })) << stats();
  }
  if (mount().has_option("io=daemon")) {
    EXPECT_EQ(said["io"], "daemon");
  }
}

TEST_F(CommandsTest, StatsInTextNamesTheMountAndTheOperations) {
  known_calls(mount().mnt());
  const std::string said = text({"stats", mount().mnt()});
  EXPECT_EQ(said.find(mount().source() + " at " + mount().mnt() + ", daemon " +
                      std::to_string(mount().pid())),
            0U)
      << said;
  EXPECT_TRUE(std::regex_search(said, std::regex("\nOPERATION +COUNT +ERRORS +MEAN "))) << said;
  EXPECT_TRUE(std::regex_search(said, std::regex("\nMKDIR +5 +0 "))) << said;
  EXPECT_TRUE(std::regex_search(said, std::regex("\nRMDIR +4 +3 "))) << said;
}

// One sample of the text format: `name{label="value",...} number`.
struct Sample {
  std::string name, labels;
  double value = 0;
};

// Everything that the exposition format demands and this output uses.
std::vector<Sample> parse_prometheus(const std::string& text) {
  EXPECT_TRUE(text.ends_with("\n"));
  const std::regex help("# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) .+");
  const std::regex type("# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)");
  const std::regex sample(
      R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (\S+))re");
  std::vector<Sample> samples;
  std::set<std::string> families, series;
  std::string family, kind;
  for (const std::string& line : lines_of(text)) {
    std::smatch found;
    if (std::regex_match(line, found, help)) {
      EXPECT_TRUE(families.insert(found[1]).second) << "a family twice: " << line;
      family = found[1];
      kind.clear();
    } else if (std::regex_match(line, found, type)) {
      EXPECT_EQ(found[1], family) << line;
      kind = found[2];
    } else if (std::regex_match(line, found, sample)) {
      const std::string name = found[1];
      EXPECT_NE(kind, "") << "no type before " << line;
      if (kind == "histogram") {
        EXPECT_TRUE(name == family + "_bucket" || name == family + "_sum" ||
                    name == family + "_count")
            << line;
      } else {
        EXPECT_EQ(name, family) << line;
      }
      EXPECT_EQ(kind == "counter", name.ends_with("_total")) << line;
      EXPECT_TRUE(series.insert(name + found[2].str()).second) << "a series twice: " << line;
      std::size_t end = 0;
      const std::string number = found[3];
      EXPECT_NO_THROW(samples.push_back({name, found[2], std::stod(number, &end)})) << line;
      EXPECT_EQ(end, number.size()) << line;
    } else {
      ADD_FAILURE() << "not in the text format: " << line;
    }
  }
  return samples;
}

TEST_F(CommandsTest, StatsForPrometheusIsValidAndHasTheNumbers) {
  known_calls(mount().mnt());
  const std::vector<Sample> samples =
      parse_prometheus(text({"stats", mount().mnt(), "--prometheus"}));
  const std::string prefix = "passthroughfs_operation_duration_seconds";
  std::map<std::string, double> last_bucket;
  std::map<std::string, double> counts, errors;
  for (const Sample& sample : samples) {
    EXPECT_NE(sample.labels.find("mountpoint=\"" + mount().mnt() + "\""), std::string::npos);
    std::smatch found;
    if (!std::regex_search(sample.labels, found, std::regex("operation=\"(\\w+)\""))) continue;
    const std::string name = found[1];
    if (sample.name == prefix + "_bucket") {
      EXPECT_GE(sample.value, last_bucket[name]) << "buckets are cumulative: " << sample.labels;
      last_bucket[name] = sample.value;
    } else if (sample.name == prefix + "_count") {
      EXPECT_EQ(sample.value, last_bucket[name]) << sample.labels;
      counts[name] = sample.value;
    } else if (sample.name == "passthroughfs_operation_errors_total") {
      errors[name] = sample.value;
    }
  }
  EXPECT_EQ(counts["MKDIR"], 5);
  EXPECT_EQ(counts["RMDIR"], 4);
  EXPECT_EQ(errors["RMDIR"], 3);
  EXPECT_EQ(errors["MKDIR"], 0);
}

TEST_F(CommandsTest, OneFormatAtATime) {
  const ProgramResult both = mount().command({"stats", mount().mnt(), "--json", "--prometheus"});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_EQ(both.out, "");
  EXPECT_EQ(lines_of(both.err).size(), 1U) << both.err;
}

TEST_F(CommandsTest, AnotherUserIsRefused) {
  PFS_NEEDS_ROOT();
  run_as(kAlice, [&] {
    for (const char* command : {"handles", "stats", "umount"}) {
      const ProgramResult result = mount().command({command, mount().mnt()});
      EXPECT_GT(result.exit_code, 0) << command;
      EXPECT_EQ(result.out, "");
      EXPECT_EQ(lines_of(result.err).size(), 1U) << result.err;
    }
  });
  EXPECT_EQ(access(mnt("").c_str(), F_OK), 0);
}

// --- doctor -------------------------------------------------------------------------------------

TEST_F(CommandsTest, DoctorInJsonHasTheChecksThatDecideWhatAMountCanDo) {
  const Json said = json({"doctor", "--json"});
  EXPECT_EQ(keys_of(said), (std::set<std::string>{"version", "checks"}));
  EXPECT_EQ("passthroughfs " + said["version"].get<std::string>() + "\n", text({"--version"}));
  std::map<std::string, Json> checks;
  for (const Json& check : said["checks"]) {
    EXPECT_TRUE(checks.emplace(check["name"], check).second) << check;
    EXPECT_TRUE(check["status"] == "ok" || check["status"] == "warn") << check;
    EXPECT_TRUE(check["value"].is_string()) << check;
    EXPECT_NE(check["value"], "") << check;
    EXPECT_TRUE(check["hint"].is_string()) << check;
    if (check["status"] == "warn") {
      EXPECT_NE(check["hint"], "") << "and now? " << check;
    }
    if (check.contains("list")) {
      EXPECT_TRUE(check["list"].is_array()) << check;
    }
  }
  for (const char* name :
       {"kernel", "/dev/fuse", "protocol", "kernel passthrough", "resend after a crash",
        "FUSE over io_uring", "fusermount3", "user_allow_other", "capabilities",
        "open_by_handle_at", "fanotify", "RLIMIT_NOFILE", "control sockets"}) {
    EXPECT_TRUE(checks.contains(name)) << name;
  }
  // There is a mount, so this much is true here.
  EXPECT_EQ(checks["/dev/fuse"]["status"], "ok");
  EXPECT_TRUE(
      std::regex_match(checks["protocol"]["value"].get<std::string>(), std::regex("7\\.[0-9]+")));
}

TEST_F(CommandsTest, DoctorInTextSaysTheSame) {
  const Json said = json({"doctor", "--json"});
  const std::string lines = text({"doctor"});
  for (const Json& check : said["checks"]) {
    const std::string name = check["name"];
    const std::string status = check["status"];
    bool found = false;
    for (const std::string& line : lines_of(lines)) {
      found = found || (line.rfind(status + " ", 0) == 0 && line.find(" " + name + " ") == 5);
    }
    EXPECT_TRUE(found) << status << " " << name << " is not in:\n" << lines;
  }
}

}  // namespace
}  // namespace passthroughfs::test
