// SPDX-License-Identifier: Apache-2.0
#include "cli/holders.h"

#include <dirent.h>
#include <fmt/core.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>

#include "proto/mount_point.h"

namespace passthroughfs {
namespace {

// Calls for each entry whose name is a number, until the callback says false.
void for_each_number(const std::string& directory, const std::function<bool(const char*)>& visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  if (!stream) return;
  while (const dirent* entry = readdir(stream.get())) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) == 0) continue;
    if (!visit(entry->d_name)) return;
  }
}

bool maps_file_on(const std::string& process, dev_t device) {
  // 7f0000000000-7f0000001000 r--s 00000000 00:35 12 /mnt/data/file
  const std::string wanted = fmt::format(" {:02x}:{:02x} ", major(device), minor(device));
  std::ifstream maps(process + "/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(wanted) != std::string::npos) return true;
  }
  return false;
}

std::optional<std::string> how_held(const std::string& process, dev_t device) {
  if (device_at((process + "/cwd").c_str()) == device) return "working directory";
  if (device_at((process + "/root").c_str()) == device) return "root directory";
  bool open = false;
  for_each_number(process + "/fd", [&](const char* number) {
    open = device_at((process + "/fd/" + number).c_str()) == device;
    return !open;
  });
  if (open) return "open file";
  if (maps_file_on(process, device)) return "mapped file";
  return std::nullopt;
}

}  // namespace

std::vector<Holder> find_holders(dev_t device, std::size_t limit) {
  std::vector<Holder> holders;
  for_each_number("/proc", [&](const char* pid) {
    const std::string process = std::string("/proc/") + pid;
    if (std::atoi(pid) == getpid()) return true;  // inherited, and gone with this command
    if (auto how = how_held(process, device)) {
      Holder& holder = holders.emplace_back();
      holder.pid = std::atoi(pid);
      holder.how = *how;
      std::ifstream(process + "/comm") >> holder.name;
    }
    return holders.size() < limit;
  });
  return holders;
}

}  // namespace passthroughfs
