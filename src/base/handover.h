// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

// What a program leaves to the one that takes its place by exec: descriptors, which keep their
// numbers, numbers and texts, all by name. Written to a memory file whose descriptor the other
// program is told. Names that a reader does not know do no harm, so that programs of different
// versions understand each other. Not thread-safe.
class Handover {
 public:
  // A descriptor that stays open over the exec; not owned. Names hold no NUL; a later value of a
  // name takes the place of the earlier one.
  void put_descriptor(std::string_view name, int fd);
  void put_number(std::string_view name, std::uint64_t value);
  // Any bytes but NUL.
  void put_text(std::string_view name, std::string_view text);

  // nullopt: there is none of this name and kind.
  [[nodiscard]] std::optional<int> descriptor(std::string_view name) const;
  [[nodiscard]] std::optional<std::uint64_t> number(std::string_view name) const;
  [[nodiscard]] std::optional<std::string> text(std::string_view name) const;
  // All of them, sorted, each once.
  [[nodiscard]] std::vector<int> descriptors() const;
  [[nodiscard]] std::map<std::string, int> named_descriptors() const;

  // A memory file with all of it. Errors: those of memfd_create and write.
  [[nodiscard]] Result<UniqueFd> write() const;
  // EPROTO: it holds something else. Errors of reading. std::bad_alloc.
  static Result<Handover> read(BorrowedFd file);

 private:
  enum class Kind : char { descriptor = 'd', number = 'n', text = 't' };
  void put(Kind kind, std::string_view name, std::string value);
  [[nodiscard]] const std::string* find(Kind kind, std::string_view name) const;

  std::map<std::pair<std::string, Kind>, std::string, std::less<>> entries_;
};

}  // namespace passthroughfs
