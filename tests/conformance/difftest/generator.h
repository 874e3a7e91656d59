// SPDX-License-Identifier: Apache-2.0
//
// Random calls. Few names, few directories and sizes around the borders of pages, blocks and
// requests, so that calls meet: most of what goes wrong in a file system needs two of them on one
// file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "op.h"
#include "random.h"
#include "world.h"

namespace passthroughfs::difftest {

struct GeneratorConfig {
  std::uint64_t seed = 1;
  int agents = 1;
  bool root = false;      // agent 0 may do what needs root
  bool confined = false;  // ".." and absolute paths stay inside the tree
};

// The same seed and the same results of the left side give the same calls. Not thread-safe.
class Generator {
 public:
  explicit Generator(const GeneratorConfig& config) : config_(config), random_(config.seed) {}

  // The next few calls, all of one agent.
  std::vector<Op> next_batch();
  void learn(const Op& op, const Result& left) { world_.learn(op, left); }

 private:
  struct Place {
    int dir = kCwd;
    std::string path;
  };

  Op next(int agent);
  void tidy_up(std::vector<Op>& batch);
  bool fill(Op& op);
  bool fill_descriptor(Op& op);
  bool fill_data(Op& op);
  bool fill_attributes(Op& op);
  bool fill_names(Op& op);
  bool fill_directories(Op& op);
  bool fill_xattr(Op& op);
  bool fill_map(Op& op);
  bool fill_lock(Op& op);
  void fill_open(Op& op);

  // Slots of the agent that seem to be what is asked for; now and then any other.
  int open_file(const Op& op, bool writable);
  int open_directory(const Op& op);
  int open_any(const Op& op);
  int free_slot(const Op& op);
  template <typename Wanted>
  int find_slot(const Op& op, Wanted wanted);

  Place place(const Op& op, const std::string& absolute);
  std::string decorate(std::string path);
  std::string new_path(bool directory = false);
  std::string some_path();  // what exists, mostly
  std::string some_file();
  std::string from_path(const Op& op, const std::string& absolute);  // without a directory slot

  std::int64_t length();
  std::int64_t offset();
  std::int64_t mode();
  std::int64_t uid();
  std::int64_t gid();
  std::string xattr_name();

  GeneratorConfig config_;
  Random random_;
  World world_;
  int agent_ = 0;
  std::uint64_t made_ = 0, next_tidy_ = 0;
};

}  // namespace passthroughfs::difftest
