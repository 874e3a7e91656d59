// SPDX-License-Identifier: Apache-2.0
//
// A server that dies because memory was damaged may have damaged what it shares with its successor.
// That one must not crash for ever, nor hang, nor give anybody another file than the one he asked
// for: what is damaged gives an error, and if nothing can be told from it the mount is taken away
// with a line that says why.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/json.h"
#include "support/mount_fixture.h"
#include "support/stop_process.h"
#include "table/handle_table.h"
#include "table/inode_table.h"
#include "table/ledger.h"
#include "table/lock_owners.h"

namespace passthroughfs::test {
namespace {

using Random = std::mt19937;

constexpr int kFiles = 12;
constexpr off_t kHeader = 4096;  // of a SlotTable
constexpr const char* kDamaged = "what the last server has left is damaged";
constexpr std::array<int, 7> kAllowed{EBADF, EIO, ESTALE, ENOTCONN, ECONNABORTED, ENOENT, ENOLCK};

std::string name_of(int file) { return "file" + std::to_string(file); }
std::string content_of(int file) { return "what is in " + name_of(file) + " and nowhere else"; }

// Memory that the guardian holds.
class Shared {
 public:
  Shared(pid_t guardian, const std::string& name) {
    const std::string directory = "/proc/" + std::to_string(guardian) + "/fd";
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      std::error_code gone;
      const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
      if (target.find("/memfd:" + name + " ") == std::string::npos) continue;
      fd_.reset(open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    }
    EXPECT_TRUE(fd_.valid()) << name;
  }
  template <typename T>
  T get(off_t at) const {
    T value{};
    EXPECT_EQ(pread(fd_.get(), &value, sizeof value, at), static_cast<ssize_t>(sizeof value));
    return value;
  }
  template <typename T>
  void put(off_t at, const T& value) const {
    EXPECT_EQ(pwrite(fd_.get(), &value, sizeof value, at), static_cast<ssize_t>(sizeof value));
  }

 private:
  UniqueFd fd_;
};

template <typename Record>
off_t place_of_descriptor() {
  const Record record{};
  return reinterpret_cast<const char*>(&record.fd) - reinterpret_cast<const char*>(&record);
}

struct Table {
  const char* name;
  off_t record_bytes;
  off_t begin;     // of the first record
  unsigned first;  // that is used
  unsigned used;   // so many; 0: as the header says
};
constexpr std::array<Table, 4> kTables{{
    {"passthroughfs-inodes", sizeof(Inode), kHeader, 1, 0},
    {"passthroughfs-handles", sizeof(Handle), kHeader, 1, 0},
    {"passthroughfs-locks", sizeof(LockOwnerRecord), kHeader, 1, 0},
    {"passthroughfs-ledgers", sizeof(Ledger), 0, 0, 6},
}};

class DamageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
  }

  // A mount with files that are open, known by name, and locked.
  struct Site {
    explicit Site(const char* io)
        : mount({.options = {io, "recover=on", "journal=off"},
                 .medium = TempTree::Medium::kMemory,
                 .server_dies = true,
                 .broken_on_purpose = true}) {
      if (!mount.ok()) return;
      for (int i = 0; i < kFiles; ++i) {
        write_file(mount.source(name_of(i)), content_of(i));
        const int flags = i % 2 == 0 ? O_RDWR : O_RDONLY;
        files.emplace_back(open(mount.mnt(name_of(i)).c_str(), flags | O_CLOEXEC));
        struct flock lock {};
        lock.l_type = i % 2 == 0 ? F_WRLCK : F_RDLCK;
        lock.l_whence = SEEK_SET;
        if (i >= 4) continue;
        EXPECT_EQ(fcntl(files.back().get(), F_OFD_SETLK, &lock), 0);
      }
      for (int i = 0; i < 3; ++i) {
        make_dir(mount.source("dir" + std::to_string(i)));
        write_file(mount.source("dir" + std::to_string(i) + "/inner"), "inner");
        directories.emplace_back(
            open(mount.mnt("dir" + std::to_string(i)).c_str(), O_RDONLY | O_DIRECTORY));
      }
    }

    // Damages the memory while the server stands still, and then ends it.
    template <typename Damage>
    void damage_and_kill(Damage&& damage) {
      const pid_t server = mount.server_pid();
      stop_process(server);
      damage();
      ASSERT_EQ(kill(server, SIGKILL), 0);
    }

    Mount mount;
    std::vector<UniqueFd> files, directories;
  };

  // What a call gave is right, or an error that is allowed.
  static void expect_content(ssize_t got, int error, const std::array<char, 200>& buffer,
                             int file) {
    if (got < 0) {
      EXPECT_NE(std::find(kAllowed.begin(), kAllowed.end(), error), kAllowed.end())
          << name_of(file) << ": " << errno_name(error);
    } else {
      EXPECT_EQ(std::string(buffer.data(), static_cast<std::size_t>(got)), content_of(file));
    }
  }

  static void look_at_all(const Site& site) {
    std::array<char, 200> buffer{};
    for (int i = 0; i < kFiles; ++i) {
      const int fd = site.files[static_cast<std::size_t>(i)].get();
      ssize_t got = pread(fd, buffer.data(), buffer.size(), 0);
      expect_content(got, errno, buffer, i);
      struct stat st {};
      if (fstat(fd, &st) == 0) {
        EXPECT_EQ(static_cast<std::size_t>(st.st_size), content_of(i).size()) << name_of(i);
      }
      const UniqueFd again(open(site.mount.mnt(name_of(i)).c_str(), O_RDONLY | O_CLOEXEC));
      got = again.valid() ? pread(again.get(), buffer.data(), buffer.size(), 0) : -1;
      expect_content(got, errno, buffer, i);
    }
    // Writing changes the right file or none.
    for (int i = 0; i < kFiles; i += 2) {
      (void)!pwrite(site.files[static_cast<std::size_t>(i)].get(), "W", 1, 0);
    }
    for (int i = 0; i < kFiles; ++i) {
      std::string wanted = content_of(i);
      std::string found = read_file(site.mount.source(name_of(i)));
      if (i % 2 == 0 && found[0] == 'W') found[0] = wanted[0];
      EXPECT_EQ(found, wanted);
    }
    for (const UniqueFd& directory : site.directories) {
      DIR* const stream = fdopendir(dup(directory.get()));
      while (const dirent* entry = stream != nullptr ? readdir(stream) : nullptr) {
        const std::string name = entry->d_name;
        EXPECT_TRUE(name == "." || name == ".." || name == "inner") << name;
      }
      if (stream != nullptr) closedir(stream);
    }
  }

  static bool is_mounted(const Mount& mount) {
    std::string text = read_file("/proc/self/mountinfo");
    return text.find(" " + mount.mnt() + " ") != std::string::npos;
  }

  // It goes on, or was taken away with the reason told.
  static void expect_life_or_reason(Site& site) {
    const auto text = [&] { return site.mount.log(); };
    const auto gone = [&] { return text().find(kDamaged) != std::string::npos; };
    ASSERT_TRUE(wait_until([&] { return gone() || answers(site.mount); })) << text();
    if (gone()) {
      EXPECT_TRUE(wait_until([&] { return !is_mounted(site.mount); })) << text();
      return;
    }
    EXPECT_EQ(text().find("no server can live"), std::string::npos) << text();
    write_file(site.mount.mnt("new"), "new");
    EXPECT_EQ(read_file(site.mount.source("new")), "new");
  }
  static bool answers(const Mount& mount) { return stats(mount).value("server_starts", 0) > 1; }

  static void damage(const Site& site, Random& random) {
    const auto below = [&](unsigned end) { return static_cast<unsigned>(random() % end); };
    const Table& table = kTables[below(kTables.size())];
    const Shared memory(site.mount.pid(), table.name);
    const unsigned end = table.used != 0 ? table.used : memory.get<std::uint32_t>(8);
    ASSERT_GT(end, table.first) << table.name;
    const auto record = [&] {
      return table.begin + table.record_bytes * (table.first + below(end - table.first));
    };
    switch (below(3)) {
      case 0:  // single bytes
        for (unsigned i = 0; i < 40; ++i) {
          memory.put(record() + below(static_cast<unsigned>(table.record_bytes)),
                     static_cast<std::uint8_t>(random()));
        }
        break;
      case 1:  // whole records
        for (unsigned i = 0; i < 3; ++i) {
          const off_t at = record();
          for (off_t byte = 0; byte < table.record_bytes; ++byte) {
            memory.put(at + byte, static_cast<std::uint8_t>(random()));
          }
        }
        break;
      default:  // words of one record in another one: plausible, and wrong
        for (unsigned i = 0; i < 20; ++i) {
          const off_t word = 4 * below(static_cast<unsigned>(table.record_bytes) / 4);
          memory.put(record() + word, memory.get<std::uint32_t>(record() + word));
        }
    }
  }
};

TEST_F(DamageTest, ATableThatIsNoneEndsTheMountWithAReason) {
  struct Case {
    const char* table;
    off_t at;
    std::uint32_t value;
  };
  for (const Case& c :
       {Case{"passthroughfs-inodes", 0, 127}, Case{"passthroughfs-inodes", 4, 7},
        Case{"passthroughfs-inodes", 8, 0xffffffff}, Case{"passthroughfs-inodes", 8, 0},
        Case{"passthroughfs-inodes",
             kHeader + static_cast<off_t>(sizeof(Inode)) + place_of_descriptor<Inode>(),
             0x7fffffff},
        Case{"passthroughfs-handles", 0, 1}, Case{"passthroughfs-handles", 8, 1U << 31},
        Case{"passthroughfs-locks", 8, 0xfffffff0}}) {
    SCOPED_TRACE(std::string(c.table) + " at " + std::to_string(c.at));
    Site site("io=daemon");
    ASSERT_TRUE(site.mount.ok());
    site.damage_and_kill([&] { Shared(site.mount.pid(), c.table).put(c.at, c.value); });
    ASSERT_TRUE(wait_until([&] { return !is_mounted(site.mount); })) << site.mount.log();
    EXPECT_TRUE(site.mount.wait_for_exit().has_value());
    EXPECT_NE(site.mount.log().find(kDamaged), std::string::npos) << site.mount.log();
    look_at_all(site);
  }
}

TEST_F(DamageTest, RandomDamageGivesNobodyAnotherFile) {
  const char* const text = std::getenv("PFS_TEST_SEED");
  const unsigned first = text != nullptr ? static_cast<unsigned>(std::atoi(text)) : 1;
  for (unsigned seed = first; seed < first + 20; ++seed) {
    SCOPED_TRACE("PFS_TEST_SEED=" + std::to_string(seed));
    Random random(seed);
    Site site(seed % 2 == 0 ? "io=daemon" : "io=passthrough");
    ASSERT_TRUE(site.mount.ok());
    site.damage_and_kill([&] { damage(site, random); });
    look_at_all(site);
    expect_life_or_reason(site);
    if (HasFailure()) {
      ADD_FAILURE() << site.mount.log();
      break;
    }
  }
}

// Descriptors of one file where those of another should be.
TEST_F(DamageTest, AnExchangedDescriptorIsNoticed) {
  ASSERT_EQ(place_of_descriptor<Inode>(), place_of_descriptor<Handle>());
  for (const Table& table : {kTables[0], kTables[1]}) {
    SCOPED_TRACE(table.name);
    Site site("io=daemon");
    ASSERT_TRUE(site.mount.ok());
    site.damage_and_kill([&] {
      const Shared memory(site.mount.pid(), table.name);
      const off_t one = table.begin + 3 * table.record_bytes + place_of_descriptor<Inode>(),
                  other = one + table.record_bytes;
      const auto fd = memory.get<std::int32_t>(one);
      memory.put(one, memory.get<std::int32_t>(other));
      memory.put(other, fd);
    });
    look_at_all(site);
    expect_life_or_reason(site);
    EXPECT_NE(site.mount.log().find("damaged in memory"), std::string::npos) << site.mount.log();
  }
}

}  // namespace
}  // namespace passthroughfs::test
