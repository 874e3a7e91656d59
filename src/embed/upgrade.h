// SPDX-License-Identifier: Apache-2.0
//
// How a program takes the place of another one that serves a mount: by exec in the guardian, with
// all descriptors open, their meaning in a Handover, and the same command line. All of this is for
// a process with one thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/errno.h"
#include "base/fd.h"
#include "base/handover.h"
#include "base/result.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// The environment variable that tells a program of the Handover; its value is a descriptor.
inline constexpr const char* kHandoverVariable = "PASSTHROUGHFS_HANDOVER";

// What a Handover holds for the program itself.
namespace handed {
inline constexpr const char* kLayout = "layout";  // text: what is in the memory of the tables
inline constexpr const char* kTrial = "trial";    // number: it is asked whether it could, only
inline constexpr const char* kAnswer = "answer";  // descriptor of a trial's error text
inline constexpr const char* kOldProgram = "old_program";  // descriptor; may be missing
inline constexpr const char* kFailure = "failure";  // text: another program tried before and failed
inline constexpr const char* kSource = "source";    // texts: as they were found out at the start
inline constexpr const char* kMountpoint = "mountpoint";
inline constexpr const char* kJournal = "journal";
inline constexpr const char* kMountDevice = "mount_device";      // number: st_dev of the mount
inline constexpr const char* kUnmountSocket = "unmount_socket";  // of the UnmountHelper
inline constexpr const char* kUnmountPid = "unmount_pid";
// Number: what is needed to go on is with the service manager, too, see revival.cc. Its descriptor
// of the Handover has this name there.
inline constexpr const char* kKept = "kept_by_manager";
inline constexpr const char* kKeptHandover = "passthroughfs-handover";
inline constexpr const char* kConnection = "dev_fuse";  // its descriptor, as Session names it
inline constexpr const char* kArguments = "arguments";  // text: the command line
}  // namespace handed

// The layout of all memory that processes of a mount share, of this program.
[[nodiscard]] std::string program_layout();

// Starts `program` as a child that looks at the handover and says whether it could go on. Nothing
// that is handed over is changed. Errors: what it says, in one line; ETIMEDOUT; ECANCELED: `wanted`
// said no, and the child is gone.
Outcome<void> try_program(int program, const std::vector<std::string>& arguments, Handover handover,
                          const std::function<bool()>& wanted);

// Executes `program` in the place of this one. Returns only if that fails.
[[nodiscard]] Errno replace_program(int program, const std::vector<std::string>& arguments,
                                    const Handover& handover);

// What another program has left to this one.
struct Inheritance {
  Handover handover;
  // All descriptors that are open and not named in the handover, sorted: most are the tables'.
  std::vector<int> unnamed;
};

// nullopt: there is none, this program was started in the usual way. The descriptors are closed on
// exec from now on. Call it once, before anything else is opened. EPROTO: it is not understood.
[[nodiscard]] std::optional<Result<Inheritance>> inherit();

}  // namespace passthroughfs
