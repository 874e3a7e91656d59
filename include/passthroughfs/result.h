// SPDX-License-Identifier: Apache-2.0
//
// How the functions of this library report failure: no exceptions, one line for a person and an
// errno for a program.
#pragma once

#include <optional>
#include <string>
#include <utility>

#define PASSTHROUGHFS_EXPORT __attribute__((visibility("default")))

namespace passthroughfs {

struct Error {
  int code = 0;         // a positive errno value
  std::string message;  // one line, no newline
};

// A value, or the Error that took its place. Not thread-safe; copies are independent.
template <typename T>
class [[nodiscard]] Outcome {
 public:
  // Implicit on purpose: `return value;` and `return Error{EINVAL, "..."};` are how it is made.
  // NOLINTBEGIN(google-explicit-constructor,hicpp-explicit-conversions)
  Outcome(T value) : value_(std::move(value)) {}
  Outcome(Error error) : error_(std::move(error)) {}
  // NOLINTEND(google-explicit-constructor,hicpp-explicit-conversions)

  [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }

  // Precondition of the accessors: has_value() for the value, !has_value() for the error.
  T& value() & noexcept { return *value_; }
  const T& value() const& noexcept { return *value_; }
  T&& value() && noexcept { return std::move(*value_); }
  T& operator*() & noexcept { return *value_; }
  const T& operator*() const& noexcept { return *value_; }
  T&& operator*() && noexcept { return std::move(*value_); }
  T* operator->() noexcept { return &*value_; }
  const T* operator->() const noexcept { return &*value_; }
  [[nodiscard]] const Error& error() const noexcept { return error_; }

 private:
  std::optional<T> value_;
  Error error_;
};

template <>
class [[nodiscard]] Outcome<void> {
 public:
  Outcome() = default;
  // NOLINTNEXTLINE(google-explicit-constructor,hicpp-explicit-conversions)
  Outcome(Error error) : error_(std::move(error)) {}

  [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  [[nodiscard]] const Error& error() const noexcept { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace passthroughfs
