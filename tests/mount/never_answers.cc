// SPDX-License-Identifier: Apache-2.0
//
// A program that is asked whether it could take over a mount, and says nothing.
#include <unistd.h>

int main() {
  for (;;) pause();
}
