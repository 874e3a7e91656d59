// SPDX-License-Identifier: Apache-2.0
//
// Two empty directories for one run, one on each side.
#pragma once

#include <string>

namespace passthroughfs::difftest {

// Makes a directory of the same new name below both, open to every user, and removes both trees in
// the end. With `in_place` the given directories themselves are used (they must be empty) and only
// their contents are removed. Ends the program when it cannot.
class FreshPair {
 public:
  FreshPair(std::string left, std::string right, bool in_place);
  ~FreshPair();
  FreshPair(const FreshPair&) = delete;
  FreshPair& operator=(const FreshPair&) = delete;

  const std::string& left() const { return left_; }
  const std::string& right() const { return right_; }

 private:
  std::string left_, right_;
  bool in_place_;
};

}  // namespace passthroughfs::difftest
