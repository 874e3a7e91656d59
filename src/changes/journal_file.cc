// SPDX-License-Identifier: Apache-2.0
#include "changes/journal_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/fd.h"

namespace passthroughfs {
namespace {

// "PFSJ": tells our databases from others'.
constexpr std::int64_t kApplicationId = 0x5046534a;
constexpr std::int64_t kSchemaVersion = 1;

constexpr const char* kSchema = R"(
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, kind INTEGER NOT NULL, time INTEGER NOT NULL);
CREATE TABLE objects (
  id INTEGER PRIMARY KEY, device INTEGER NOT NULL, ino INTEGER NOT NULL,
  current INTEGER NOT NULL, sure INTEGER NOT NULL, born INTEGER NOT NULL,
  mode INTEGER NOT NULL, uid INTEGER NOT NULL DEFAULT 0, gid INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL DEFAULT 0, mtime INTEGER NOT NULL DEFAULT 0,
  ctime INTEGER NOT NULL DEFAULT 0, racy INTEGER NOT NULL DEFAULT 0,
  xattrs INTEGER NOT NULL DEFAULT 0, birth INTEGER NOT NULL DEFAULT 0,
  known INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX objects_by_key ON objects (ino, device) WHERE current = 1;
CREATE TABLE links (
  directory INTEGER NOT NULL, name BLOB NOT NULL, object INTEGER NOT NULL,
  PRIMARY KEY (directory, name)) WITHOUT ROWID;
CREATE INDEX links_by_object ON links (object);
CREATE TABLE names (
  epoch INTEGER NOT NULL, directory INTEGER NOT NULL, name BLOB NOT NULL,
  before INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
  size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, racy INTEGER NOT NULL,
  xattrs INTEGER NOT NULL,
  PRIMARY KEY (epoch, directory, name)) WITHOUT ROWID;
CREATE TABLE inodes (
  epoch INTEGER NOT NULL, object INTEGER NOT NULL, marks INTEGER NOT NULL,
  mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
  size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, racy INTEGER NOT NULL,
  xattrs INTEGER NOT NULL, content INTEGER NOT NULL,
  PRIMARY KEY (epoch, object)) WITHOUT ROWID;
CREATE TABLE stale_objects (object INTEGER PRIMARY KEY);
CREATE TABLE stale_places (directory INTEGER NOT NULL, name BLOB NOT NULL,
  PRIMARY KEY (directory, name)) WITHOUT ROWID;
)";

}  // namespace

int errno_of_database(int code) noexcept {
  switch (code & 0xff) {
    case SQLITE_FULL: return ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return EBUSY;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN: return EACCES;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return EINVAL;
    case SQLITE_NOMEM: return ENOMEM;
    default: return EIO;
  }
}

Outcome<void> check_journal_file(const std::string& path) {
  if (path.empty()) return {};
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    if (errno == ENOENT) return {};
    const int error = errno;
    return Error{error, fmt::format("journal '{}': {}", path, std::strerror(error))};
  }
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) {
    return Error{EINVAL, fmt::format("journal '{}' is not a regular file", path)};
  }
  if (st.st_size == 0) return {};
  std::array<char, 100> head{};
  const ssize_t got = ::pread(fd.get(), head.data(), head.size(), 0);
  const auto big_endian = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value = value << 8 | static_cast<unsigned char>(head[at + i]);
    }
    return std::int64_t{value};
  };
  constexpr std::size_t kApplicationIdAt = 68;
  constexpr std::size_t kUserVersionAt = 60;
  if (got != ssize_t{head.size()} || std::memcmp(head.data(), "SQLite format 3", 16) != 0 ||
      big_endian(kApplicationIdAt) != kApplicationId) {
    return Error{
        EINVAL, fmt::format("'{}' is not a journal of passthroughfs; it was left untouched", path)};
  }
  if (big_endian(kUserVersionAt) != kSchemaVersion) {
    return Error{EINVAL, fmt::format("journal '{}' is of another version ({}, not {}); it was left "
                                     "untouched",
                                     path, big_endian(kUserVersionAt), kSchemaVersion)};
  }
  return {};
}

void make_journal_tables(Database& database) {
  database.run("BEGIN IMMEDIATE");
  database.run(kSchema);
  std::uint64_t identity = 0;
  while (identity == 0) (void)!::getrandom(&identity, sizeof identity, 0);
  database.run(fmt::format("INSERT INTO meta VALUES ('identity', '{:016x}')", identity).c_str());
  database.run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId,
                           kSchemaVersion)
                   .c_str());
  database.run("COMMIT");
}

void make_journal_file(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && st.st_size != 0) return;
  const std::string making = path + "-new";
  (void)::unlink(making.c_str());
  // It tells names of files, which are for the owner alone; what SQLite adds takes its mode.
  const UniqueFd file(::open(making.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) throw DatabaseError(SQLITE_CANTOPEN, std::strerror(errno));
  {
    Database database(making);
    database.run("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;");
    make_journal_tables(database);
  }
  if (::fsync(file.get()) != 0 || ::rename(making.c_str(), path.c_str()) != 0) {
    throw DatabaseError(SQLITE_IOERR, std::strerror(errno));
  }
}

}  // namespace passthroughfs
