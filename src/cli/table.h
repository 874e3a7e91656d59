// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace passthroughfs {

// Text in aligned columns: numbers to the right, words to the left; the last column is not padded.
class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::right;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell per column.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "12.3 us", "4.5 ms": four significant places at most.
[[nodiscard]] std::string format_duration(double ns);
// "512 B", "1.5 MiB"
[[nodiscard]] std::string format_bytes(double bytes);

}  // namespace passthroughfs
