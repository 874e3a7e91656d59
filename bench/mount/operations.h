// SPDX-License-Identifier: Apache-2.0
//
// The operations that pfs_microbench can time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace passthroughfs::bench {

// What an operation works on. Each client gets its own; nothing is shared between clients but the
// files below `population`.
struct Workspace {
  std::string dir;         // where the timed calls go: this client's own, empty directory
  std::string source_dir;  // the same directory, reached without the mount (or `dir` again)
  std::string population;  // a directory with `files` prepared files, or empty
  std::uint64_t files = 0;
  bool flat = false;  // population/fNNNNNNN instead of population/dNNNN/fNNNNNNN
  unsigned client = 0;
};

// One operation of one client. Calls come from one thread: prepare, run, finish, prepare, ...
// A failing system call ends the program with a message: a number measured beside errors is worth
// nothing.
class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;

  // How many repetitions make one timed batch.
  virtual std::uint64_t batch() const { return 64; }
  // Not timed: makes what `count` repetitions need, and puts away what they left.
  virtual void prepare(std::uint64_t /*count*/) {}
  virtual void finish(std::uint64_t /*count*/) {}
  // Timed.
  virtual void run(std::uint64_t count) = 0;
};

struct OperationInfo {
  std::string_view name;
  std::string_view help;
  std::unique_ptr<Operation> (*make)(const Workspace&);
};

std::span<const OperationInfo> operations();

// Ends the program, saying what failed and errno's text.
[[noreturn]] void fail(std::string_view what, std::string_view path);

// The prepared file number `i` of a workspace's population.
std::string population_path(const Workspace& space, std::uint64_t i);

}  // namespace passthroughfs::bench
