// SPDX-License-Identifier: Apache-2.0
//
// What the generator believes about the tree and the agents, learned from the left side's results.
// Beliefs only make the calls more interesting (a read of an open file instead of EBADF); a wrong
// one costs nothing.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "exec.h"
#include "op.h"
#include "random.h"

namespace passthroughfs::difftest {

struct SlotBelief {
  bool open = false;       // as the last result said
  bool open_soon = false;  // if what has been generated since works
  bool directory = false;
  bool writable = false;
  bool path_only = false;
  std::string path;  // absolute, when it was opened
};

struct AgentBelief {
  std::array<SlotBelief, kSlots> slots;
  std::array<bool, kMapSlots> maps{};
  std::string cwd = "/";
};

// Not thread-safe.
class World {
 public:
  void expect(const Op& op);  // generated, not yet executed
  void learn(const Op& op, const Result& left);

  AgentBelief& agent(int number) { return agents_[static_cast<std::size_t>(number)]; }

  // An absolute path of the sort, or "" when none is known.
  std::string file(Random& random) const { return pick(files_, random); }
  std::string directory(Random& random) const;  // "/" among them
  std::string inner_directory(Random& random) const { return pick(directories_, random); }
  std::string link(Random& random) const { return pick(links_, random); }
  std::string other(Random& random) const { return pick(others_, random); }

  struct Known {
    std::string path;
    bool directory;
  };
  // What is known below `directory`, children before their parents.
  std::vector<Known> below(const std::string& directory) const;

  std::string absolute(const Op& op, int dir, const std::string& path) const;

 private:
  using Paths = std::vector<std::string>;

  static std::string pick(const Paths& from, Random& random);
  void add(Paths& to, const std::string& path);
  void remove(const std::string& path);
  void rename(const std::string& from, const std::string& to, bool exchange);
  void learn_open(const Op& op);
  void learn_tree(std::string_view snapshot);

  std::array<AgentBelief, kMaxAgents> agents_;
  Paths files_, directories_, links_, others_;
};

}  // namespace passthroughfs::difftest
