// SPDX-License-Identifier: Apache-2.0
// A stranger's program: includes the installed headers and calls into the installed library.
#include <passthroughfs/version.h>

#if __has_include(<passthroughfs/filesystem.h>)
#include <passthroughfs/filesystem.h>
#endif
#if __has_include(<passthroughfs/client.h>)
#include <passthroughfs/client.h>
#endif

#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  if (argc != 2 || std::strcmp(argv[1], PASSTHROUGHFS_VERSION) != 0) {
    std::fprintf(stderr, "the headers are of version %s\n", PASSTHROUGHFS_VERSION);
    return 1;
  }
  return 0;
}
