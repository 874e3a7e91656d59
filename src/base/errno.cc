// SPDX-License-Identifier: Apache-2.0
#include "base/errno.h"

#include <cstring>

namespace passthroughfs {

std::string Errno::to_string() const {
  const char* name = strerrorname_np(value_);
  const char* text = strerrordesc_np(value_);
  std::string out = name != nullptr ? name : std::to_string(value_);
  if (text != nullptr) {
    out += " (";
    out += text;
    out += ")";
  }
  return out;
}

}  // namespace passthroughfs
