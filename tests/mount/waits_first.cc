// SPDX-License-Identifier: Apache-2.0
//
// The program under test ($PFS_TEST_PROGRAM), once a file ($PFS_TEST_GO) is there.
#include <unistd.h>

#include <cstdlib>

int main(int, char** arguments) {
  const char* const go = std::getenv("PFS_TEST_GO");
  const char* const program = std::getenv("PFS_TEST_PROGRAM");
  if (go == nullptr || program == nullptr) return 1;
  // Who asks gives up after ten seconds and ends this.
  while (access(go, F_OK) != 0) (void)usleep(1000);
  (void)execv(program, arguments);
  return 1;
}
