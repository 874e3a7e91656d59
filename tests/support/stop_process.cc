// SPDX-License-Identifier: Apache-2.0
#include "support/stop_process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "support/program.h"
#include "support/wait_until.h"

namespace passthroughfs::test {
namespace {

bool is_stopped(pid_t process) {
  std::error_code gone;
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    const std::string stat = read_all(task.path().string() + "/stat");
    const std::size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos) continue;  // it has ended
    const char state = stat.at(name_end + 2);
    if (state != 'T' && state != 'Z') return false;
  }
  return true;
}

}  // namespace

void stop_process(pid_t process) {
  ASSERT_EQ(kill(process, SIGSTOP), 0);
  ASSERT_TRUE(wait_until([&] { return is_stopped(process); }));
}

}  // namespace passthroughfs::test
