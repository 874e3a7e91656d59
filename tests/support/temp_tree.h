// SPDX-License-Identifier: Apache-2.0
//
// A directory of a test's own that goes away with it.
#pragma once

#include <string>
#include <string_view>

namespace passthroughfs::test {

// Owns a fresh, empty directory (mode 0755) below $PFS_TEST_DIR, or /tmp, or for kMemory below
// /dev/shm. The destructor detaches whatever is still mounted below it, clears append-only and
// immutable flags, and removes everything; it never crosses into another file system. Not
// thread-safe; not copyable. The constructor throws std::system_error when it cannot create it.
class TempTree {
 public:
  enum class Medium { kDisk, kMemory };

  explicit TempTree(Medium medium = Medium::kDisk);
  ~TempTree();
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const;

  // Makes a directory below the tree, with exactly this mode, and returns its path.
  std::string make_dir(std::string_view name, unsigned mode = 0755) const;

  // What the destructor does, for a process that cleans up after another one.
  static void remove(const std::string& path);

 private:
  std::string path_;
};

}  // namespace passthroughfs::test
