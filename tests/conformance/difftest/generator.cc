// SPDX-License-Identifier: Apache-2.0
//
// Which call comes next, and the operands that all calls share: slots, paths, sizes. What each call
// needs of them is in generator_ops.cc.
#include "generator.h"

#include <array>
#include <cstddef>
#include <string>

#include "users.h"

namespace passthroughfs::difftest {
namespace {

struct Weight {
  Kind kind;
  unsigned weight;
};

constexpr std::array kWeights{
    Weight{Kind::kOpen, 110},      Weight{Kind::kClose, 35},       Weight{Kind::kDup, 8},
    Weight{Kind::kSendFd, 6},      Weight{Kind::kRecvFd, 6},       Weight{Kind::kGetFl, 6},
    Weight{Kind::kSetFl, 12},      Weight{Kind::kRead, 40},        Weight{Kind::kPread, 50},
    Weight{Kind::kReadv, 12},      Weight{Kind::kWrite, 50},       Weight{Kind::kPwrite, 55},
    Weight{Kind::kWritev, 12},     Weight{Kind::kPwritev2, 10},    Weight{Kind::kLseek, 30},
    Weight{Kind::kFtruncate, 25},  Weight{Kind::kTruncate, 12},    Weight{Kind::kFallocate, 16},
    Weight{Kind::kCopyRange, 12},  Weight{Kind::kSendfile, 8},     Weight{Kind::kFsync, 6},
    Weight{Kind::kFdatasync, 4},   Weight{Kind::kFadvise, 5},      Weight{Kind::kFstat, 40},
    Weight{Kind::kStat, 40},       Weight{Kind::kStatx, 10},       Weight{Kind::kFchmod, 14},
    Weight{Kind::kChmod, 16},      Weight{Kind::kFchown, 8},       Weight{Kind::kChown, 10},
    Weight{Kind::kFutimens, 8},    Weight{Kind::kUtimens, 10},     Weight{Kind::kAccess, 12},
    Weight{Kind::kStatfs, 2},      Weight{Kind::kFstatfs, 2},      Weight{Kind::kSameFile, 14},
    Weight{Kind::kGetFlags, 4},    Weight{Kind::kSetFlags, 3},     Weight{Kind::kMkdir, 22},
    Weight{Kind::kRmdir, 12},      Weight{Kind::kUnlink, 30},      Weight{Kind::kLink, 16},
    Weight{Kind::kLinkFd, 6},      Weight{Kind::kSymlink, 12},     Weight{Kind::kReadlink, 8},
    Weight{Kind::kRename, 34},     Weight{Kind::kMknod, 7},        Weight{Kind::kUmask, 4},
    Weight{Kind::kListdir, 10},    Weight{Kind::kGetdents, 8},     Weight{Kind::kSeekdir, 5},
    Weight{Kind::kChdir, 6},       Weight{Kind::kFchdir, 3},       Weight{Kind::kGetcwd, 5},
    Weight{Kind::kSetxattr, 16},   Weight{Kind::kFsetxattr, 10},   Weight{Kind::kGetxattr, 14},
    Weight{Kind::kFgetxattr, 8},   Weight{Kind::kListxattr, 6},    Weight{Kind::kFlistxattr, 5},
    Weight{Kind::kRemovexattr, 6}, Weight{Kind::kFremovexattr, 4}, Weight{Kind::kMmap, 12},
    Weight{Kind::kStore, 20},      Weight{Kind::kLoad, 16},        Weight{Kind::kMsync, 6},
    Weight{Kind::kMunmap, 8},      Weight{Kind::kSetLk, 16},       Weight{Kind::kGetLk, 8},
    Weight{Kind::kOfdSetLk, 8},    Weight{Kind::kOfdGetLk, 4},     Weight{Kind::kFlock, 14},
    Weight{Kind::kSnapshot, 1},
};

constexpr unsigned total_weight() {
  unsigned sum = 0;
  for (const Weight& row : kWeights) sum += row.weight;
  return sum;
}

// Some names are mostly files, some mostly directories, so that not every name is soon a directory.
constexpr std::array kFileNames{"a", "b", "c", "d", "e"};
constexpr std::array kDirectoryNames{"d", "e", "x", "y"};

std::size_t depth_of(const std::string& path) {
  std::size_t depth = 0;
  for (const char c : path) depth += c == '/' ? 1 : 0;
  return depth;
}

}  // namespace

std::vector<Op> Generator::next_batch() {
  if (config_.agents > 1 && random_.percent(70)) {
    agent_ = static_cast<int>(random_.below(static_cast<std::uint64_t>(config_.agents)));
  }
  std::vector<Op> batch;
  if (made_ >= next_tidy_) {
    next_tidy_ = made_ + 700;
    tidy_up(batch);
  }
  const std::uint64_t size = 1 + random_.below(16);
  while (batch.size() < size) {
    batch.push_back(next(agent_));
    world_.expect(batch.back());
  }
  made_ += batch.size();
  return batch;
}

// A full tree in which nobody may do anything would make the rest of the run dull.
void Generator::tidy_up(std::vector<Op>& batch) {
  agent_ = 0;
  const auto path_from_root = [this](const std::string& path) {
    return config_.confined ? path : path == "/" ? std::string(".") : path.substr(1);
  };
  batch.push_back(Op{.kind = Kind::kChmod, .agent = 0, .path = path_from_root("/"), .a = 0777});
  const std::string dir = world_.directory(random_);
  for (const World::Known& known : world_.below(dir)) {
    const bool keep = random_.percent(dir == "/" ? 50 : 10);
    Op op{.kind = known.directory ? Kind::kRmdir : Kind::kUnlink, .agent = 0};
    if (keep) {
      op.kind = Kind::kChmod;
      op.a = known.directory ? 0777 : 0666;
    }
    op.path = path_from_root(known.path);
    batch.push_back(std::move(op));
  }
}

Op Generator::next(int agent) {
  while (true) {
    Op op;
    op.agent = static_cast<std::uint8_t>(agent);
    std::uint64_t point = random_.below(total_weight());
    for (const Weight& row : kWeights) {
      op.kind = row.kind;
      if (point < row.weight) break;
      point -= row.weight;
    }
    // A whole tree costs as much as hundreds of calls.
    if (op.kind == Kind::kSnapshot && (agent != 0 || random_.percent(60))) continue;
    op.observe = random_.percent(15);
    if (fill(op)) return op;
  }
}

template <typename Wanted>
int Generator::find_slot(const Op& op, Wanted wanted) {
  const int start = static_cast<int>(random_.below(kSlots));
  if (random_.percent(5)) return start;
  const AgentBelief& agent = world_.agent(op.agent);
  for (int i = 0; i < kSlots; ++i) {
    const int slot = (start + i) % kSlots;
    if (wanted(agent.slots[static_cast<std::size_t>(slot)])) return slot;
  }
  return start;
}

int Generator::open_file(const Op& op, bool writable) {
  return find_slot(op, [writable](const SlotBelief& slot) {
    return slot.open_soon && !slot.directory && !slot.path_only && (!writable || slot.writable);
  });
}

int Generator::open_directory(const Op& op) {
  return find_slot(op, [](const SlotBelief& slot) { return slot.open_soon && slot.directory; });
}

int Generator::open_any(const Op& op) {
  return find_slot(op, [](const SlotBelief& slot) { return slot.open_soon; });
}

int Generator::free_slot(const Op& op) {
  if (random_.percent(20)) return static_cast<int>(random_.below(kSlots));
  return find_slot(op, [](const SlotBelief& slot) { return !slot.open_soon; });
}

std::string Generator::new_path(bool directory) {
  std::string dir = world_.directory(random_);
  if (depth_of(dir) > (random_.one_in(20) ? 12u : 3u)) dir = "/";
  if (dir == "/") dir.clear();
  if (random_.one_in(150)) return dir + "/" + std::string(random_.percent(60) ? 255 : 256, 'L');
  return dir + "/" + (directory ? random_.pick(kDirectoryNames) : random_.pick(kFileNames));
}

std::string Generator::some_file() {
  std::string path = random_.percent(85) ? world_.file(random_) : std::string();
  return path.empty() ? new_path() : path;
}

std::string Generator::some_path() {
  const std::uint64_t sort = random_.below(100);
  std::string path;
  if (sort < 50)
    path = world_.file(random_);
  else if (sort < 70)
    path = world_.directory(random_);
  else if (sort < 80)
    path = world_.link(random_);
  else if (sort < 86)
    path = world_.other(random_);
  return path.empty() ? new_path() : path;
}

std::string Generator::decorate(std::string path) {
  if (!random_.one_in(60)) return path;
  switch (random_.below(config_.confined ? 8 : 5)) {
    case 0: return path + "/";
    case 1: return path + "/.";
    case 2: return "";
    case 3: return path + "//" + kFileNames[0];
    case 4: return path + std::string(4090, '/') + "a";
    case 5: return path + "/..";
    case 6: return path + "/../" + random_.pick(kFileNames);
    default: return path + std::string(4095 - std::min<std::size_t>(path.size(), 4000), '/');
  }
}

std::string Generator::from_path(const Op& op, const std::string& absolute) {
  const std::string& cwd = world_.agent(op.agent).cwd;
  const std::string prefix = cwd == "/" ? "/" : cwd + "/";
  const bool inside = absolute.compare(0, prefix.size(), prefix) == 0;
  const bool relative = inside && (!config_.confined || random_.percent(60));
  std::string path = relative ? absolute.substr(prefix.size()) : absolute;
  if (!config_.confined && !relative) path = ".";
  if (path.empty()) path = ".";
  return decorate(path);
}

Generator::Place Generator::place(const Op& op, const std::string& absolute) {
  if (random_.percent(25)) {
    const AgentBelief& agent = world_.agent(op.agent);
    const auto start = static_cast<int>(random_.below(kSlots));
    for (int i = 0; i < kSlots; ++i) {
      const int number = (start + i) % kSlots;
      const SlotBelief& slot = agent.slots[static_cast<std::size_t>(number)];
      if (!slot.open_soon || !slot.directory) continue;
      const std::string prefix = slot.path == "/" ? "/" : slot.path + "/";
      if (absolute.compare(0, prefix.size(), prefix) == 0 && absolute.size() > prefix.size()) {
        return {number, decorate(absolute.substr(prefix.size()))};
      }
    }
  }
  return {kCwd, from_path(op, absolute)};
}

std::int64_t Generator::length() {
  static constexpr std::array<std::int64_t, 12> kSmall{1,   2,   7,    10,   100,  511,
                                                       512, 513, 1000, 1024, 2048, 3000};
  static constexpr std::array<std::int64_t, 9> kPages{4095, 4096, 4097,  5000, 8191,
                                                      8192, 8193, 12288, 16384};
  static constexpr std::array<std::int64_t, 8> kLarge{32768,  65535,  65536,  65537,
                                                      131071, 131072, 131073, 200000};
  static constexpr std::array<std::int64_t, 5> kRequests{262144, 1048575, 1048576, 1048577,
                                                         1100000};
  const std::uint64_t sort = random_.below(1000);
  if (sort < 20) return 0;
  if (sort < 560) return random_.pick(kSmall);
  if (sort < 960) return random_.pick(kPages);
  if (sort < 997) return random_.pick(kLarge);
  return random_.pick(kRequests);
}

std::int64_t Generator::offset() {
  static constexpr std::array<std::int64_t, 6> kFar{
      (1ll << 31) - 1, 1ll << 31, (1ll << 32) + 4095, 1ll << 33, (1ll << 40) + 1, 1ll << 62};
  const std::uint64_t sort = random_.below(1000);
  if (sort < 250) return 0;
  if (sort < 252) return -1;
  if (sort < 256) return random_.pick(kFar);
  return length();
}

std::int64_t Generator::mode() {
  static constexpr std::array<std::int64_t, 20> kModes{0644, 0755,  0660,  0600,  0444,  0400, 0222,
                                                       0111, 0000,  0640,  0770,  0700,  0622, 0711,
                                                       0100, 04755, 02755, 06777, 01777, 02770};
  if (random_.percent(70)) return random_.pick({0777, 0777, 0666, 06777, 02777});
  return random_.pick(kModes);
}

std::int64_t Generator::uid() {
  return random_.pick({-1, -1, -1, 0, kUsers[1].uid, kUsers[1].uid, kUsers[2].uid});
}

std::int64_t Generator::gid() {
  return random_.pick({-1, -1, 0, kUsers[1].gid, kUsers[2].gid, kSharedGroup, kUsers[1].groups[1]});
}

std::string Generator::xattr_name() {
  const std::uint64_t sort = random_.below(100);
  if (sort < 25) return "user.a";
  if (sort < 40) return "user.b";
  if (sort < 50) return "user.c";
  if (sort < 60) return "trusted.a";
  if (sort < 68) return "security.capability";
  if (sort < 84) return "system.posix_acl_access";
  if (sort < 94) return "system.posix_acl_default";
  if (sort < 95) return "user.";
  if (sort < 96) return "nodots";
  if (sort < 97) return "bogus.a";
  if (sort < 98) return "user." + std::string(250, 'x');
  if (sort < 99) return "user." + std::string(251, 'x');
  return "system.other";
}

}  // namespace passthroughfs::difftest
