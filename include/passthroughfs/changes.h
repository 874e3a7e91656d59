// SPDX-License-Identifier: Apache-2.0
//
// What has changed below a mount, as `passthroughfs dirty` tells it.
#pragma once

#include <string>
#include <vector>

namespace passthroughfs {

// The net change of one path. What was created and deleted in between does not appear.
struct Change {
  // Relative to the source, any bytes but NUL; "." is the source itself. Where it is now; of what
  // is gone, where it was.
  std::string path;
  // "file", "directory", "symlink", "fifo", "socket", "block", "character".
  std::string type;
  // What happened to it; at least one of these.
  bool created = false;     // was not there
  bool deleted = false;     // is not there any more
  bool data = false;        // other content, or another file in its place
  bool attributes = false;  // mode, owner, times set by a program, inode flags
  bool xattr = false;       // extended attributes, ACLs among them
  bool renamed = false;     // was at `from`
  std::string from;         // empty unless renamed
};

struct ChangeReport {
  std::string token;            // names the moment of this report; the `since` of a next one
  std::string since;            // the token that it begins at
  bool complete = true;         // false: there may be more changes than these
  std::string reason;           // why it is not complete; empty if it is
  std::vector<Change> changes;  // by path, in the order of its bytes
};

}  // namespace passthroughfs
