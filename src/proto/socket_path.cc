// SPDX-License-Identifier: Apache-2.0
#include "proto/socket_path.h"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace passthroughfs {
namespace {

constexpr const char* kSystem = "/run/passthroughfs";

std::string session_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");  // NOLINT(concurrency-mt-unsafe)
  // A relative path is to be ignored, says the specification.
  if (runtime == nullptr || *runtime != '/') return {};
  return std::string(runtime) + "/passthroughfs";
}

void add(std::vector<std::string>& list, std::string path) {
  if (path.empty() || std::find(list.begin(), list.end(), path) != list.end()) return;
  list.push_back(std::move(path));
}

}  // namespace

std::string socket_name(dev_t device) {
  return fmt::format("{}:{}.sock", major(device), minor(device));
}

std::vector<std::string> socket_directories(uid_t owner) {
  std::vector<std::string> list;
  if (owner == 0) add(list, kSystem);
  add(list, session_directory());
  add(list, fmt::format("/run/user/{}/passthroughfs", owner));
  add(list, kSystem);
  add(list, fmt::format("/tmp/passthroughfs-{}", owner));
  return list;
}

sockaddr_un address_in(BorrowedFd directory, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/{}", directory.get(), name);
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

}  // namespace passthroughfs
