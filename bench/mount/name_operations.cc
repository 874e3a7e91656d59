// SPDX-License-Identifier: Apache-2.0
//
// Operations that make, remove and list names.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "support.h"

namespace passthroughfs::bench {
namespace {

class OnNames : public Operation {
 public:
  explicit OnNames(const Workspace& space) : OnNames(space.dir + "/name") {}
  explicit OnNames(const std::string& prefix) {
    for (std::uint64_t i = 0; i < OnNames::batch(); ++i)
      paths_.push_back(prefix + std::to_string(i));
  }
  std::uint64_t batch() const override { return 64; }

 protected:
  const std::vector<std::string>& paths() const { return paths_; }
  void create_all(std::uint64_t count) const {
    for (std::uint64_t i = 0; i < count; ++i) {
      const File file(paths_[i], O_WRONLY | O_CREAT | O_EXCL);
    }
  }
  void unlink_all(std::uint64_t count) const {
    for (std::uint64_t i = 0; i < count; ++i) {
      check(::unlink(paths_[i].c_str()) == 0, "unlink", paths_[i]);
    }
  }

 private:
  std::vector<std::string> paths_;
};

class CreateClose : public OnNames {
 public:
  using OnNames::OnNames;
  void run(std::uint64_t count) override { create_all(count); }
  void finish(std::uint64_t count) override { unlink_all(count); }
};

class Unlink : public OnNames {
 public:
  using OnNames::OnNames;
  void prepare(std::uint64_t count) override { create_all(count); }
  void run(std::uint64_t count) override { unlink_all(count); }
};

class Rename : public OnFile {
 public:
  explicit Rename(const Workspace& space) : OnFile(space, 0), other_(space.dir + "/renamed") {}
  std::uint64_t batch() const override { return 64; }  // even: the file has its first name again
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      const std::string& from = away_ ? other_ : path();
      const std::string& to = away_ ? path() : other_;
      check(::rename(from.c_str(), to.c_str()) == 0, "rename", from);
      away_ = !away_;
    }
  }
  void finish(std::uint64_t /*count*/) override {
    if (away_) run(1);
  }

 private:
  std::string other_;
  bool away_ = false;
};

class MkdirRmdir : public Operation {
 public:
  explicit MkdirRmdir(const Workspace& space) : path_(space.dir + "/directory") {}
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      check(::mkdir(path_.c_str(), 0755) == 0, "mkdir", path_);
      check(::rmdir(path_.c_str()) == 0, "rmdir", path_);
    }
  }

 private:
  std::string path_;
};

// Lists the prepared directory.
class Readdir : public Operation {
 public:
  explicit Readdir(const Workspace& space) : path_(space.population), files_(space.files) {
    if (space.files > 0 && space.flat) return;
    errno = EINVAL;
    fail("readdir needs --population, --files and --flat", "");
  }
  std::uint64_t batch() const override { return 2; }
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      DIR* dir = ::opendir(path_.c_str());
      check(dir != nullptr, "opendir", path_);
      std::uint64_t entries = 0;
      while (::readdir(dir) != nullptr) ++entries;
      ::closedir(dir);
      if (entries == files_ + 2) continue;
      errno = ERANGE;
      fail("readdir: wrong number of entries", path_);
    }
  }

 private:
  std::string path_;
  std::uint64_t files_;
};

// Creates in the prepared directory itself, however large it is.
class CreateInto : public OnNames {
 public:
  explicit CreateInto(const Workspace& space) : OnNames(name_prefix(space)) {}
  void run(std::uint64_t count) override { create_all(count); }
  void finish(std::uint64_t count) override { unlink_all(count); }

 private:
  static std::string name_prefix(const Workspace& space) {
    if (!space.population.empty()) return space.population + "/new" + std::to_string(space.client);
    errno = EINVAL;
    fail("this operation needs --population", "");
  }
};

constexpr auto kOperations = std::to_array<OperationInfo>({
    {"create_close", "create a file and close it", make<CreateClose>},
    {"unlink", "unlink a file", make<Unlink>},
    {"rename", "rename a file", make<Rename>},
    {"mkdir_rmdir", "make and remove a directory", make<MkdirRmdir>},
    {"readdir", "list the prepared directory", make<Readdir>},
    {"create_into", "create and close in the prepared directory", make<CreateInto>},
});

}  // namespace

std::span<const OperationInfo> name_operations() { return kOperations; }

}  // namespace passthroughfs::bench
