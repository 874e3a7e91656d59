// SPDX-License-Identifier: Apache-2.0
#include "support/loop_image.h"

#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "support/mount_fixture.h"

namespace passthroughfs::test {

LoopImage::LoopImage(std::size_t bytes, std::vector<std::string> mkfs, const std::string& options) {
  const std::string image = tree_ / "image";
  const std::string mounted = tree_.make_dir("image.mnt");
  write_file(image, "");
  if (truncate(image.c_str(), static_cast<off_t>(bytes)) != 0) {
    why_ = "truncate: " + errno_name(errno);
    return;
  }
  const std::string program = mkfs[0];
  mkfs.push_back(image);
  for (const auto& command : {mkfs, {"mount", "-o", "loop," + options, image, mounted}}) {
    const ProgramResult result = run_program(command);
    if (result.exit_code != 0) {
      why_ = command[0] + " fails" + (command[0] == program ? "" : " after " + program) + ": " +
             result.err.substr(0, result.err.find('\n'));
      return;
    }
  }
  path_ = mounted;
}

LoopImage::~LoopImage() {
  // Not lazily where it can be helped: the loop device then goes at once.
  if (ok() && !wait_until(patience(std::chrono::seconds(3)), [&] {
        return umount2(path_.c_str(), UMOUNT_NOFOLLOW) == 0 || errno != EBUSY;
      })) {
    (void)umount2(path_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

std::string LoopImage::device() const {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, number, root, point, word, type, device;
    fields >> id >> parent >> number >> root >> point;
    while (fields >> word && word != "-") {
    }
    if (point == path_ && fields >> type >> device) return device;
  }
  return "";
}

}  // namespace passthroughfs::test
