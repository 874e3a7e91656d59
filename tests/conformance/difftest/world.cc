// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

namespace passthroughfs::difftest {
namespace {

constexpr std::size_t kMostPaths = 400;

// Without ".", ".." and double slashes.
std::string tidy(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    at = end + 1;
  }
  std::string text;
  for (const std::string& part : parts) text += "/" + part;
  return text.empty() ? "/" : text;
}

bool lies_below(const std::string& path, const std::string& parent) {
  return path.size() > parent.size() && path.compare(0, parent.size(), parent) == 0 &&
         path[parent.size()] == '/';
}

}  // namespace

std::string World::pick(const Paths& from, Random& random) {
  return from.empty() ? std::string() : from[random.below(from.size())];
}

std::string World::directory(Random& random) const {
  return directories_.empty() || random.percent(35) ? "/" : pick(directories_, random);
}

std::string World::absolute(const Op& op, int dir, const std::string& path) const {
  if (!path.empty() && path.front() == '/') return tidy(path);
  const AgentBelief& agent = agents_[op.agent];
  const std::string& base =
      dir < 0 ? agent.cwd : agent.slots[static_cast<std::size_t>(dir) % kSlots].path;
  return tidy(base + "/" + path);
}

std::vector<World::Known> World::below(const std::string& directory) const {
  std::vector<Known> known;
  const auto collect = [&](const Paths& paths, bool directories) {
    for (const std::string& path : paths) {
      if (directory == "/" || lies_below(path, directory)) known.push_back({path, directories});
    }
  };
  collect(files_, false);
  collect(links_, false);
  collect(others_, false);
  collect(directories_, true);
  std::stable_sort(known.begin(), known.end(),
                   [](const Known& x, const Known& y) { return x.path.size() > y.path.size(); });
  return known;
}

void World::add(Paths& to, const std::string& path) {
  remove(path);
  if (to.size() < kMostPaths) to.push_back(path);
}

void World::remove(const std::string& path) {
  for (Paths* paths : {&files_, &directories_, &links_, &others_}) {
    paths->erase(std::remove(paths->begin(), paths->end(), path), paths->end());
  }
}

void World::rename(const std::string& from, const std::string& to, bool exchange) {
  if (from == to) return;
  const auto moved = [&](std::string& path) {
    if (path == from || lies_below(path, from)) {
      path = to + path.substr(from.size());
    } else if (exchange && (path == to || lies_below(path, to))) {
      path = from + path.substr(to.size());
    }
  };
  if (!exchange) remove(to);
  for (Paths* paths : {&files_, &directories_, &links_, &others_}) {
    for (std::string& path : *paths) moved(path);
  }
  for (AgentBelief& agent : agents_) {
    moved(agent.cwd);
    for (SlotBelief& slot : agent.slots) moved(slot.path);
  }
}

void World::expect(const Op& op) {
  AgentBelief& agent = agents_[op.agent];
  SlotBelief& slot = agent.slots[static_cast<std::size_t>(op.fd) % kSlots];
  if (op.kind == Kind::kOpen && !slot.open_soon) {
    slot = SlotBelief{};
    slot.open_soon = true;
    slot.directory = (op.a & O_DIRECTORY) != 0 && (op.a & O_TMPFILE) != O_TMPFILE;
    slot.writable = (op.a & O_ACCMODE) != O_RDONLY;
    slot.path_only = (op.a & O_PATH) != 0;
    slot.path = absolute(op, op.dir, op.path);
  } else if (op.kind == Kind::kClose) {
    slot.open_soon = false;
  }
}

void World::learn_open(const Op& op) {
  SlotBelief& slot = agents_[op.agent].slots[static_cast<std::size_t>(op.fd) % kSlots];
  const std::string path = absolute(op, op.dir, op.path);
  const bool temporary = (op.a & O_TMPFILE) == O_TMPFILE;
  slot = SlotBelief{};
  slot.open = slot.open_soon = true;
  slot.path_only = (op.a & O_PATH) != 0;
  slot.writable = (op.a & O_ACCMODE) != O_RDONLY && !slot.path_only;
  slot.path = path;
  if (temporary) return;
  slot.directory = (op.a & O_DIRECTORY) != 0 || path == "/" ||
                   std::find(directories_.begin(), directories_.end(), path) != directories_.end();
  if ((op.a & O_CREAT) != 0 && (op.a & O_PATH) == 0 && !slot.directory) add(files_, path);
}

void World::learn_tree(std::string_view snapshot) {
  files_.clear();
  directories_.clear();
  links_.clear();
  others_.clear();
  while (!snapshot.empty()) {
    const std::string_view line = snapshot.substr(0, snapshot.find('\n'));
    snapshot.remove_prefix(std::min(line.size() + 1, snapshot.size()));
    const std::size_t type = line.find(" type=");
    if (type == std::string_view::npos || line.substr(0, 2) == "/ ") continue;
    const std::string path(line.substr(0, type));
    const std::string_view rest = line.substr(type + 6);
    Paths& to = rest.substr(0, 3) == "reg"    ? files_
                : rest.substr(0, 3) == "dir"  ? directories_
                : rest.substr(0, 4) == "link" ? links_
                                              : others_;
    if (to.size() < kMostPaths) to.push_back(path);
  }
}

void World::learn(const Op& op, const Result& left) {
  AgentBelief& agent = agents_[op.agent];
  SlotBelief& slot = agent.slots[static_cast<std::size_t>(op.fd) % kSlots];
  if (op.kind == Kind::kClose) slot = SlotBelief{};
  if (op.kind == Kind::kMunmap) agent.maps[static_cast<std::size_t>(op.a) % kMapSlots] = false;
  if (left.value < 0) {
    slot.open_soon = slot.open;
    return;
  }
  switch (op.kind) {
    case Kind::kOpen: learn_open(op); break;
    case Kind::kDup: agent.slots[static_cast<std::size_t>(op.fd2) % kSlots] = slot; break;
    case Kind::kRecvFd:
      slot = SlotBelief{};
      slot.open = slot.open_soon = slot.writable = true;
      break;
    case Kind::kMkdir: add(directories_, absolute(op, op.dir, op.path)); break;
    case Kind::kRmdir:
    case Kind::kUnlink: remove(absolute(op, op.dir, op.path)); break;
    case Kind::kLink: add(files_, absolute(op, op.dir2, op.path2)); break;
    case Kind::kLinkFd: add(files_, absolute(op, op.dir, op.path)); break;
    case Kind::kSymlink: add(links_, absolute(op, op.dir, op.path)); break;
    case Kind::kMknod: add(others_, absolute(op, op.dir, op.path)); break;
    case Kind::kRename:
      rename(absolute(op, op.dir, op.path), absolute(op, op.dir2, op.path2), (op.a & 2) != 0);
      break;
    case Kind::kChdir: agent.cwd = absolute(op, kCwd, op.path); break;
    case Kind::kFchdir: agent.cwd = slot.path; break;
    case Kind::kMmap: agent.maps[static_cast<std::size_t>(op.a) % kMapSlots] = true; break;
    case Kind::kSnapshot: learn_tree(left.detail); break;
    default: break;
  }
}

}  // namespace passthroughfs::difftest
