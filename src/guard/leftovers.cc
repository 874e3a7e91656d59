// SPDX-License-Identifier: Apache-2.0
#include "guard/leftovers.h"

#include <sys/wait.h>

#include <new>
#include <sstream>

namespace passthroughfs {

Leftovers::Leftovers(const std::string& text) {
  std::istringstream numbers(text);
  for (pid_t child = 0; numbers >> child;) children_.push_back(child);
}

void Leftovers::add(pid_t child) noexcept {
  try {
    children_.push_back(child);
  } catch (const std::bad_alloc&) {
  }
}

void Leftovers::reap() noexcept {
  std::erase_if(children_, [](pid_t child) { return ::waitpid(child, nullptr, WNOHANG) != 0; });
}

std::string Leftovers::text() const {
  std::string out;
  for (const pid_t child : children_) out += std::to_string(child) + ' ';
  return out;
}

}  // namespace passthroughfs
