// SPDX-License-Identifier: Apache-2.0
#include "operations.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "support.h"

namespace passthroughfs::bench {

void fail(std::string_view what, std::string_view path) {
  const int error = errno;
  std::fprintf(stderr, "pfs_microbench: %.*s %.*s: %s\n", static_cast<int>(what.size()),
               what.data(), static_cast<int>(path.size()), path.data(), std::strerror(error));
  std::_Exit(1);
}

std::string population_path(const Workspace& space, std::uint64_t i) {
  std::array<char, 64> name{};
  if (space.flat) {
    std::snprintf(name.data(), name.size(), "/f%07llu", static_cast<unsigned long long>(i));
  } else {
    std::snprintf(name.data(), name.size(), "/d%04llu/f%07llu",
                  static_cast<unsigned long long>(i / 1000), static_cast<unsigned long long>(i));
  }
  return space.population + name.data();
}

std::span<const OperationInfo> operations() {
  static const std::vector<OperationInfo> all = [] {
    std::vector<OperationInfo> list;
    for (const auto part : {data_operations(), file_operations(), name_operations()}) {
      list.insert(list.end(), part.begin(), part.end());
    }
    return list;
  }();
  return all;
}

}  // namespace passthroughfs::bench
