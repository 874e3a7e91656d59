// SPDX-License-Identifier: Apache-2.0
//
// Mounts a directory and prints what is changed through the mount:
//
//   observer SOURCE MOUNTPOINT
//
// It ends with the mount: `umount MOUNTPOINT`, or Ctrl-C.
#include <passthroughfs/filesystem.h>

#include <pthread.h>

#include <csignal>
#include <cstdio>
#include <thread>

namespace {

void print(const passthroughfs::Change& change) {
  const char* what = change.created   ? "created"
                     : change.deleted ? "deleted"
                     : change.renamed ? "renamed"
                     : change.data    ? "written"
                                      : "changed";
  std::printf("%s %s\n", what, change.path.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s SOURCE MOUNTPOINT\n", argv[0]);
    return 2;
  }
  // Before any thread exists, so that all of them leave these signals to the one that waits.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  passthroughfs::Filesystem fs(argv[1], argv[2]);
  // The source's journal is for mounts that last; this one needs to know of nothing before itself.
  if (auto set = fs.configure("journal", "memory"); !set) {
    std::fprintf(stderr, "%s\n", set.error().message.c_str());
    return 1;
  }
  fs.observe(print);
  if (auto mounted = fs.mount(); !mounted) {
    std::fprintf(stderr, "%s\n", mounted.error().message.c_str());
    return 1;
  }
  std::printf("mounted\n");
  std::fflush(stdout);
  std::thread waiting([&fs, ends] {
    int signal = 0;
    sigwait(&ends, &signal);
    (void)fs.stop();  // nothing happens if the mount has ended
  });
  const auto ended = fs.run();
  pthread_kill(waiting.native_handle(), SIGTERM);
  waiting.join();
  if (!ended) std::fprintf(stderr, "%s\n", ended.error().message.c_str());
  return ended ? 0 : 1;
}
