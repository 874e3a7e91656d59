// SPDX-License-Identifier: Apache-2.0
#include "session/journal_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

namespace passthroughfs {
namespace {

std::string home() {
  if (const char* set = std::getenv("HOME"); set != nullptr && *set == '/') return set;
  std::array<char, 4096> room;
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, room.data(), room.size(), &found) != 0 ||
      found == nullptr || found->pw_dir == nullptr) {
    return {};
  }
  return found->pw_dir;
}

// Readable by people, and different for different paths (FNV-1a, which will not change).
std::string name_of(const std::string& source) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : source) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  std::string last = source.substr(source.rfind('/') + 1);
  for (char& c : last) {
    if (static_cast<unsigned char>(c) < ' ') c = '_';
  }
  constexpr std::size_t kShown = 64;
  return fmt::format("{}-{:016x}.journal", last.empty() ? "root" : last.substr(0, kShown), hash);
}

Result<void> make_directories(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return Errno::last();
    if (at != std::string::npos) ++at;
  }
  return ok();
}

constexpr std::string_view kMemory = "/dev/shm/";
constexpr std::string_view kPrefix = "passthroughfs-journal-";

void remove_with_content(const std::string& path) {
  std::error_code ignored;  // what is left is in memory, and goes with it
  std::filesystem::remove_all(path, ignored);
}

Result<UniqueFd> lock_directory(const std::string& path, int how) {
  UniqueFd fd = TRY(own(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)));
  struct stat st {};
  TRY(check(::fstat(fd.get(), &st)));
  if (st.st_uid != ::geteuid()) return Err(EPERM);
  TRY(check(::flock(fd.get(), how)));
  // It may have been removed between open and flock.
  TRY(check(::fstat(fd.get(), &st)));
  if (st.st_nlink == 0) return Err(ENOENT);
  return fd;
}

void remove_abandoned() {
  const std::unique_ptr<DIR, int (*)(DIR*)> memory(::opendir(kMemory.data()), &::closedir);
  if (!memory) return;
  while (const dirent* entry = ::readdir(memory.get())) {
    const std::string_view name(entry->d_name);
    if (!name.starts_with(kPrefix)) continue;
    const std::string path = std::string(kMemory).append(name);
    if (lock_directory(path, LOCK_EX | LOCK_NB)) remove_with_content(path);
  }
}

}  // namespace

Result<std::string> default_journal_file(const std::string& source) {
  std::string directory;
  if (const char* set = std::getenv("XDG_STATE_HOME"); set != nullptr && *set == '/') {
    directory = std::string(set) + "/passthroughfs";
  } else if (::geteuid() == 0) {
    directory = "/var/lib/passthroughfs";
  } else {
    const std::string own = home();
    if (own.empty()) return Err(ENOENT);
    directory = own + "/.local/state/passthroughfs";
  }
  TRY(make_directories(directory));
  return directory + "/" + name_of(source);
}

Result<MemoryDirectory> MemoryDirectory::create() {
  remove_abandoned();
  for (;;) {
    std::string path = std::string(kMemory).append(kPrefix).append("XXXXXX");
    if (::mkdtemp(path.data()) == nullptr) return Errno::last();
    auto lock = lock_directory(path, LOCK_EX);
    if (lock) return MemoryDirectory(std::move(path), std::move(*lock), ::getpid());
    // Not locked yet, it may have looked abandoned to another.
    if (lock.error().value() == ENOENT) continue;
    remove_with_content(path);
    return lock.error();
  }
}

MemoryDirectory MemoryDirectory::adopt(std::string path, UniqueFd lock) noexcept {
  return MemoryDirectory(std::move(path), std::move(lock), 0);
}

void MemoryDirectory::remove() noexcept {
  if (path_.empty()) return;
  remove_with_content(path_);
  path_.clear();
}

MemoryDirectory::~MemoryDirectory() {
  if (owner_ == ::getpid()) remove();
}

}  // namespace passthroughfs
