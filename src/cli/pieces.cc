// SPDX-License-Identifier: Apache-2.0
#include "cli/pieces.h"

#include "cli/report.h"

namespace passthroughfs {
namespace {

constexpr std::size_t kPiece = 64U << 10;

}  // namespace

void Pieces::add(std::string_view text) {
  text_ += text;
  if (text_.size() > kPiece) flush();
}

bool Pieces::finish() {
  flush();
  return printed_;
}

void Pieces::flush() {
  printed_ = printed_ && print(text_);
  text_.clear();
}

std::string indented(std::string lines, std::size_t columns) {
  for (std::size_t at = 0; (at = lines.find('\n', at)) != std::string::npos; at += columns + 1) {
    lines.insert(at + 1, columns, ' ');
  }
  return lines;
}

}  // namespace passthroughfs
