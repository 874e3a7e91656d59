// SPDX-License-Identifier: Apache-2.0
//
// Mounts a directory from inside a program:
//
//   passthroughfs::Filesystem fs("/srv/data", "/mnt/data");
//   if (auto set = fs.configure("cache", "none"); !set) return fail(set.error().message);
//   if (auto mounted = fs.mount(); !mounted) return fail(mounted.error().message);
//   auto ended = fs.run();  // until somebody unmounts it, or stop() from another thread
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "passthroughfs/changes.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

struct Inheritance;

// One mount of one source directory. The steps are configure()*, mount(), run(), in this order and
// each from one thread at a time; stop() may be called from any thread at any time. Not copyable.
//
// The process must live as long as the mount and must not use paths below the mount point from the
// thread that is in mount(), nor from signal handlers. It ignores SIGPIPE or handles it, and leaves
// SIGRTMIN+1 to the file system, which wakes its threads with it; they block every other signal.
//
// As root, requests run with the rights of who makes them: the threads that serve take that user's
// file system identity, and drop the supplementary groups of the process for themselves. Nothing
// changes for other threads. For that the process keeps its user id and capabilities while it
// serves. Without root everything is done, and every new file is owned, by the user who mounts.
class PASSTHROUGHFS_EXPORT Filesystem {
 public:
  // Nothing is opened or checked before mount(). Relative paths are resolved there.
  Filesystem(std::string source, std::string mountpoint);
  // Stops and waits, if that has not happened.
  ~Filesystem();
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;

  // Sets a mount option, by the names and values of passthroughfs(1): configure("ro"),
  // configure("cache", "none"). Errors: EINVAL (unknown option, with the nearest known one in the
  // message; bad value; already mounted), ENOTSUP (known, not available in this version).
  Outcome<void> configure(std::string_view option, std::string_view value = {});

  // This process serves the mount and does nothing else: mount() may raise its limits, set its
  // umask to 0 and give up, for the whole process, every right that serving does not need, the
  // right to execute programs included. Call it before threads exist. Default: false.
  void dedicate_process(bool dedicated) noexcept;

  // Whether commands such as `passthroughfs handles` find this mount. Default: true.
  void offer_control(bool offered) noexcept;

  // With the option recover=on (here the default is off) another process serves, a child that
  // mount() makes, so that a crash of it does not end the mount. That needs dedicate_process(true),
  // a process without other threads from before mount() until run() has returned, and SIGTERM,
  // SIGINT and SIGHUP blocked. run() then waits, starts the next server when one dies, and ends the
  // mount on SIGTERM and SIGINT; stop() does nothing. An observer is called in the process that
  // serves. If the process is killed itself, a copy of it that run() keeps takes its place, and
  // there run() returns in the end. False after mount() where the kernel does not send requests
  // again (before Linux 6.9): then it is as with recover=off. Valid after mount(); thread-safe.
  [[nodiscard]] bool is_guarded() const noexcept;

  // The service manager that has started this process (NOTIFY_SOCKET in its environment, as
  // systemd's Type=notify has it; else this does nothing) is told by the protocol of sd_notify(3):
  // READY=1 when mount() has succeeded and again when another server has taken over, STATUS=,
  // STOPPING=1, and WATCHDOG=1 as long as the mount is served, if it wants that. mount() takes the
  // variables out of the environment, so call it before threads exist. Default: false.
  void notify_service_manager(bool told) noexcept;

  // A debug line per request, to the log sink of the program. Default: false.
  void trace_requests(bool traced) noexcept;

  // Calls `observer` for each net change that is made through the mount, as `passthroughfs watch`
  // tells them, the first and the last among them, from mount() until run() returns: in order of
  // time between reports, by path within one, on a thread of its own that is used for nothing else.
  // Give it before mount(); without a record of changes (journal=off) it is never called.
  //
  // An observer cannot harm the mount. While one call lasts nothing waits for it; what happens
  // meanwhile is merged to its net difference and told afterwards. What it throws is logged, once,
  // and the next change is told. run() waits for a call that is under way. It must not use paths
  // below the mount point when the program is about to end, because nobody serves them then.
  void observe(std::function<void(const Change&)> observer);

  // Mounts, and returns when the mount serves requests. On failure nothing stays behind.
  // Errors: ENOENT, ENOTDIR (source or mount point), EBUSY (mount point in use), EINVAL (mount
  // point inside the source), ENODEV (no /dev/fuse), EPERM, EACCES, and what system calls say.
  // EPERM also when allow_other or allow_root is set and this process has rights over files (root,
  // or capabilities such as CAP_DAC_OVERRIDE) but cannot act as its callers (it is not root with
  // CAP_SETUID and CAP_SETGID, or may not set groups): they would get its rights.
  Outcome<void> mount();

  // With recover=on, before mount(): a client can ask (Client::upgrade) that its program takes over
  // the mount. It is executed in the place of this process, with the same environment, these
  // arguments (the name of the program first) and an inheritance, and must understand both: this is
  // for the program passthroughfs itself. `descriptors` stay open and go by these names.
  void offer_upgrade(std::vector<std::string> arguments, std::map<std::string, int> descriptors);
  // Instead of mount(), in such a program, configured as that one was. If it cannot serve, the
  // program before it is executed in its turn; an error means that this failed as well, or that
  // there is none. In a trial it does not return. Errors: EPROTO, EUCLEAN (not what such a program
  // leaves), and those of mount() and of starting a process.
  Outcome<void> go_on(const Inheritance& from);

  // Waits until the mount is gone: unmounted by anyone, or stop(). Then everything of it is closed
  // and released. An error means an end that was not orderly (the connection was aborted).
  Outcome<void> run();

  // Unmounts. When the mount is busy it is detached: it disappears from the tree at once, open
  // files keep working for two seconds, then their connection is cut. Returns before run() does.
  // Without effect when nothing is mounted. Errors: EPERM, EBUSY (still mounted).
  Outcome<void> stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace passthroughfs
