// SPDX-License-Identifier: Apache-2.0
// A stranger's program: built from the installed headers, it calls into the installed library.
#include <passthroughfs/filesystem.h>
#include <passthroughfs/version.h>

#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  if (argc != 2 || std::strcmp(argv[1], PASSTHROUGHFS_VERSION) != 0) {
    std::fprintf(stderr, "the headers are of version %s\n", PASSTHROUGHFS_VERSION);
    return 1;
  }
  passthroughfs::Filesystem fs("/nonexistent/source", "/nonexistent/mountpoint");
  if (fs.configure("no_such_option").has_value()) {
    std::fprintf(stderr, "an unknown option was accepted\n");
    return 1;
  }
  if (fs.mount().has_value()) {
    std::fprintf(stderr, "a missing source was mounted\n");
    return 1;
  }
  return 0;
}
