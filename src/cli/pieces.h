// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace passthroughfs {

// stdout in pieces, for answers of which there may be a million lines. Used by one thread.
class Pieces {
 public:
  void add(std::string_view text);
  // Once, at the end. False: some of it could not be written (a closed pipe, a full disk).
  [[nodiscard]] bool finish();

 private:
  void flush();

  std::string text_;
  bool printed_ = true;
};

// `lines` with `columns` blanks before each but the first.
[[nodiscard]] std::string indented(std::string lines, std::size_t columns);

}  // namespace passthroughfs
