// SPDX-License-Identifier: Apache-2.0
//
// Extended attributes, POSIX ACLs and file capabilities among them.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "exec.h"
#include "users.h"

namespace passthroughfs::difftest {
namespace {

constexpr std::uint16_t kUserObj = 0x01, kUser = 0x02, kGroupObj = 0x04, kGroup = 0x08,
                        kMask = 0x10, kOther = 0x20;
constexpr std::uint32_t kNobody = 0xffffffff;

struct AclEntry {
  std::uint16_t tag, permissions;
  std::uint32_t id;
};

std::vector<AclEntry> acl(std::int64_t variant) {
  const std::uint32_t user = kUsers[2].uid, group = kSharedGroup;
  switch (variant % 7) {
    case 0: return {{kUserObj, 6, kNobody}, {kGroupObj, 4, kNobody}, {kOther, 0, kNobody}};
    case 1:
      return {{kUserObj, 7, kNobody},
              {kUser, 7, user},
              {kGroupObj, 5, kNobody},
              {kMask, 7, kNobody},
              {kOther, 5, kNobody}};
    case 2:
      return {{kUserObj, 7, kNobody},
              {kGroupObj, 5, kNobody},
              {kGroup, 7, group},
              {kMask, 5, kNobody},
              {kOther, 0, kNobody}};
    case 3:  // the mask takes away what the entry gives
      return {{kUserObj, 7, kNobody},
              {kUser, 7, user},
              {kGroupObj, 7, kNobody},
              {kMask, 0, kNobody},
              {kOther, 7, kNobody}};
    case 4:  // out of order: not a valid ACL
      return {{kOther, 7, kNobody}, {kUserObj, 7, kNobody}, {kGroupObj, 7, kNobody}};
    case 5: return {{kUserObj, 7, kNobody}, {kGroupObj, 7, kNobody}, {kOther, 7, kNobody}};
    default:  // a named user without a mask: not valid either
      return {
          {kUserObj, 7, kNobody}, {kUser, 7, user}, {kGroupObj, 7, kNobody}, {kOther, 7, kNobody}};
  }
}

template <typename T>
void append(std::string& to, const T& value) {
  const std::size_t at = to.size();
  to.resize(at + sizeof value);
  std::memcpy(to.data() + at, &value, sizeof value);
}

std::string acl_value(std::int64_t variant) {
  std::string value;
  append(value, std::uint32_t{POSIX_ACL_XATTR_VERSION});
  for (const AclEntry& entry : acl(variant)) {
    append(value, entry.tag);
    append(value, entry.permissions);
    append(value, entry.id);
  }
  return value;
}

std::string capability_value() {
  vfs_cap_data data{};
  data.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  data.data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
  std::string value;
  append(value, data);
  return value;
}

std::string value_for(const Op& op) {
  if (op.a > 0 && op.name.rfind("system.posix_acl_", 0) == 0) return acl_value(op.b);
  if (op.a > 0 && op.name == "security.capability") return capability_value();
  std::string value(static_cast<std::size_t>(std::max<std::int64_t>(op.a, 0)), '\0');
  fill_pattern(value.data(), value.size(), op.b);
  return value;
}

// Capabilities for a file whose pages may still have to be written back: see exceptions().
bool would_be_lost(const Agent& agent, const Op& op) {
  if (op.name != "security.capability" || agent.profile == Profile::kPassthrough) return false;
  struct stat st {};
  const bool found = op.kind == Kind::kFsetxattr ? fstat(agent.fd(op.fd), &st) == 0
                                                 : stat(op.path.c_str(), &st) == 0;
  const SideBoard::Known* known = found ? agent.board->find(st.st_ino) : nullptr;
  return known != nullptr && known->mappings > 0;
}

void remember_capabilities(Agent& agent, const Op& op) {
  const bool by_fd = op.kind == Kind::kFsetxattr;
  const int fd = by_fd ? agent.fd(op.fd)
                       : open(op.path.c_str(), O_PATH | O_CLOEXEC | (op.d != 0 ? O_NOFOLLOW : 0));
  if (SideBoard::Known* known = remember(agent, fd)) known->capable = true;
  if (!by_fd) close(fd);
}

}  // namespace

Result exec_setxattr(Agent& agent, const Op& op) {
  if (would_be_lost(agent, op)) return {.value = kNotMade};
  const std::string value = value_for(op);
  const char* name = op.name.c_str();
  const int flags = static_cast<int>(op.c);
  if (agent.fault == Fault::kLostXattr && value.size() > 64) return {};
  const bool by_fd = op.kind == Kind::kFsetxattr;
  Result result =
      outcome(by_fd ? fsetxattr(agent.fd(op.fd), name, value.data(), value.size(), flags)
                    : (op.d != 0 ? lsetxattr : setxattr)(op.path.c_str(), name, value.data(),
                                                         value.size(), flags));
  // What the ACL does to the mode the kernel's FUSE learns when somebody asks, which a write in
  // passthrough does not: see exceptions().
  struct stat st {};
  if (result.error == 0 && op.name == "security.capability") remember_capabilities(agent, op);
  if (result.error == 0 && agent.profile == Profile::kPassthrough &&
      op.name == "system.posix_acl_access") {
    (void)(by_fd ? fstat(agent.fd(op.fd), &st) : stat(op.path.c_str(), &st));
  }
  return result;
}

Result exec_getxattr(Agent& agent, const Op& op) {
  const char* name = op.name.c_str();
  const std::size_t size = std::min(static_cast<std::size_t>(op.a), kBufferSize);
  Result result =
      outcome(op.kind == Kind::kFgetxattr
                  ? fgetxattr(agent.fd(op.fd), name, agent.buffer, size)
                  : (op.d != 0 ? lgetxattr : getxattr)(op.path.c_str(), name, agent.buffer, size));
  if (result.value > 0 && size > 0) {
    char text[40];
    (void)std::snprintf(text, sizeof text, " value=%016llx",
                        static_cast<unsigned long long>(
                            hash_bytes(agent.buffer, static_cast<std::size_t>(result.value))));
    result.detail = text;
  }
  return result;
}

Result exec_listxattr(Agent& agent, const Op& op) {
  const std::size_t size = std::min(static_cast<std::size_t>(op.a), kBufferSize);
  Result result =
      outcome(op.kind == Kind::kFlistxattr
                  ? flistxattr(agent.fd(op.fd), agent.buffer, size)
                  : (op.d != 0 ? llistxattr : listxattr)(op.path.c_str(), agent.buffer, size));
  if (result.value <= 0 || size == 0) return result;
  std::vector<std::string> names;
  const char* end = agent.buffer + result.value;
  for (const char* name = agent.buffer; name < end; name += names.back().size() + 1) {
    names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) result.detail += " " + name;
  return result;
}

Result exec_removexattr(Agent& agent, const Op& op) {
  const char* name = op.name.c_str();
  if (op.kind == Kind::kFremovexattr) return outcome(fremovexattr(agent.fd(op.fd), name));
  return outcome((op.d != 0 ? lremovexattr : removexattr)(op.path.c_str(), name));
}

}  // namespace passthroughfs::difftest
