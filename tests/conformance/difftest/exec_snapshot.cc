// SPDX-License-Identifier: Apache-2.0
//
// The whole tree as text, one line per name: attributes, content, links, extended attributes.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "exec.h"

namespace passthroughfs::difftest {
namespace {

class Walk {
 public:
  explicit Walk(Agent& agent) : agent_(agent) {}

  void directory(const std::string& path, int depth) {
    const std::string self = path.empty() ? "/" : path;
    DIR* stream = opendir(self.c_str());
    if (stream == nullptr) {
      text_ += self + " opendir_error=" + std::to_string(errno) + "\n";
      return;
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(stream)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) text_ += self + " readdir_error=" + std::to_string(errno) + "\n";
    closedir(stream);
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) entry(path + "/" + name, depth);
  }

  void entry(const std::string& path, int depth) {
    struct stat st {};
    if (lstat(path.c_str(), &st) != 0) {
      text_ += path + " lstat_error=" + std::to_string(errno) + "\n";
      return;
    }
    text_ += path + describe(agent_, st);
    // Names of one file, by the order in which the walk meets them.
    if (st.st_nlink > 1 && !S_ISDIR(st.st_mode)) {
      const auto [known, fresh] = links_.emplace(st.st_ino, links_.size());
      text_ += " link_group=" + std::to_string(known->second);
    }
    if (S_ISREG(st.st_mode)) content(path, st.st_size);
    if (S_ISLNK(st.st_mode)) target(path);
    attributes(path);
    text_ += '\n';
    if (S_ISDIR(st.st_mode) && depth < 40) directory(path == "/" ? "" : path, depth + 1);
  }

  std::string take() { return std::move(text_); }

 private:
  void add_hash(const char* name, std::size_t length) {
    char text[48];
    (void)std::snprintf(text, sizeof text, " %s=%016llx", name,
                        static_cast<unsigned long long>(hash_bytes(agent_.buffer, length)));
    text_ += text;
  }

  // The first megabytes and, of files that are longer because they are sparse, the end.
  void content(const std::string& path, off_t size) {
    const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
      text_ += " open_error=" + std::to_string(errno);
      return;
    }
    part(fd, "content", 0);
    const auto limit = static_cast<off_t>(kBufferSize);
    if (size > limit) part(fd, "tail", size - std::min<off_t>(size - limit, 65536));
    close(fd);
  }

  void part(int fd, const char* name, off_t from) {
    const ssize_t got = pread(fd, agent_.buffer, kBufferSize, from);
    if (got < 0) {
      text_ += std::string(" read_error=") + std::to_string(errno);
    } else {
      add_hash(name, static_cast<std::size_t>(got));
    }
  }

  void target(const std::string& path) {
    std::array<char, 4096> buffer{};
    const ssize_t got = readlink(path.c_str(), buffer.data(), buffer.size());
    text_ += got < 0 ? " readlink_error=" + std::to_string(errno)
                     : " target=" + std::string(buffer.data(), static_cast<std::size_t>(got));
  }

  void attributes(const std::string& path) {
    std::array<char, 8192> buffer{};
    const ssize_t got = llistxattr(path.c_str(), buffer.data(), buffer.size());
    if (got < 0) {
      text_ += " listxattr_error=" + std::to_string(errno);
      return;
    }
    std::vector<std::string> names;
    for (const char* name = buffer.data(); name < buffer.data() + got;
         name += names.back().size() + 1) {
      names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      const ssize_t length = lgetxattr(path.c_str(), name.c_str(), agent_.buffer, kBufferSize);
      if (length < 0) {
        text_ += " " + name + "_error=" + std::to_string(errno);
      } else {
        add_hash(name.c_str(), static_cast<std::size_t>(length));
      }
    }
  }

  Agent& agent_;
  std::map<ino_t, std::size_t> links_;
  std::string text_;
};

}  // namespace

Result exec_snapshot(Agent& agent, const Op&) {
  Walk walk(agent);
  walk.entry("/", 0);
  for (std::size_t i = 0; i < agent.board->known_count; ++i) {
    SideBoard::Known& known = agent.board->known[i];
    if (known.mappings <= 0) known.mapped = false;
  }
  ++agent.board->epoch;
  return {.detail = walk.take()};
}

}  // namespace passthroughfs::difftest
