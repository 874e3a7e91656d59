// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as /proc/self/mountinfo: other mounts have names that anybody may choose. Two numbers
// of the device and the mount's id come first (a byte each), then the table.
#include <sys/sysmacros.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "proto/mount_point.h"
#include "require.h"

namespace {

using namespace passthroughfs;

// As the kernel writes a field.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\') {
      const auto code = static_cast<unsigned char>(c);
      out += '\\';
      for (const int shift : {6, 3, 0}) out += static_cast<char>('0' + ((code >> shift) & 7));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const dev_t device = makedev(data[0], data[1]);
  const unsigned long id = data[2];
  const std::string table(reinterpret_cast<const char*>(data) + 3, size - 3);
  MountPoint found;
  const bool any = parse_mount_table(table, device, id, found);
  if (!any) {
    require(found.fs_type.empty() && found.source.empty() && !found.owner_known);
  } else {
    require(table.find(" - ") != std::string::npos);
    require(found.source.size() <= table.size() && found.fs_type.size() <= table.size());
  }
  // A mount whose name is the input: it is read back as it is, and adds no line of its own.
  const std::string name = escaped(table);
  if (name.empty()) return 0;
  const std::string line = "36 35 7:9 / " + name + " rw shared:7 - fuse.x " + name +
                           " rw,user_id=12,group_id=3\n37 35 7:8 / /other rw - ext4 /dev/x rw\n";
  MountPoint own;
  require(parse_mount_table(line, makedev(7, 9), 36, own));
  require(own.source == table && own.fs_type == "fuse.x" && own.owner_known && own.owner == 12);
  return 0;
}
