// SPDX-License-Identifier: Apache-2.0
//
// POSIX ACLs in the form that the kernel takes them as an extended attribute.
#pragma once

#include <linux/posix_acl_xattr.h>
#include <sys/types.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace passthroughfs::test {

// "u::rwx,u:50001:rw-,g::r-x,m::rwx,o::r--", in this order, ids as numbers.
inline std::string acl_value(std::string_view text) {
  posix_acl_xattr_header header{POSIX_ACL_XATTR_VERSION};
  std::string value(reinterpret_cast<const char*>(&header), sizeof header);
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const std::size_t first = entry.find(':');
    const std::size_t second = entry.find(':', first + 1);
    const std::string id(entry.substr(first + 1, second - first - 1));
    posix_acl_xattr_entry out{};
    // Tags of linux/posix_acl.h: a name makes USER (2) of USER_OBJ (1) and GROUP (8) of GROUP_OBJ.
    switch (entry[0]) {
      case 'u': out.e_tag = id.empty() ? 0x01 : 0x02; break;
      case 'g': out.e_tag = id.empty() ? 0x04 : 0x08; break;
      case 'm': out.e_tag = 0x10; break;
      default: out.e_tag = 0x20;
    }
    out.e_id =
        id.empty() ? static_cast<std::uint32_t>(-1) : static_cast<std::uint32_t>(std::stoul(id));
    for (const char c : entry.substr(second + 1)) {
      out.e_perm = static_cast<std::uint16_t>(out.e_perm | (c == 'r'   ? 4
                                                            : c == 'w' ? 2
                                                            : c == 'x' ? 1
                                                                       : 0));
    }
    value.append(reinterpret_cast<const char*>(&out), sizeof out);
  }
  return value;
}

inline int set_acl(const std::string& path, std::string_view text, bool as_default = false) {
  const std::string value = acl_value(text);
  return setxattr(path.c_str(), as_default ? "system.posix_acl_default" : "system.posix_acl_access",
                  value.data(), value.size(), 0);
}

}  // namespace passthroughfs::test
