// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>
#include <variant>

#include "base/errno.h"

namespace passthroughfs {

// Makes a Result that holds an error: `return Err(ENOENT);`
[[nodiscard]] constexpr Errno Err(int value) noexcept { return Errno(value); }

// A value or the Errno that took its place. Member names follow std::expected, so that it can be
// swapped in when C++23 is the base. Unlike Debian's tl::expected it is [[nodiscard]]: an ignored
// error does not compile.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  // Implicit on purpose: `return value;` and `return Err(EINVAL);` are how results are made.
  // NOLINTBEGIN(google-explicit-constructor,hicpp-explicit-conversions)
  Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>)
      : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Errno error) noexcept : state_(std::in_place_index<1>, error) {}
  // NOLINTEND(google-explicit-constructor,hicpp-explicit-conversions)

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  // Precondition of the accessors: has_value() for the value, !has_value() for the error.
  T& value() & noexcept { return *std::get_if<0>(&state_); }
  const T& value() const& noexcept { return *std::get_if<0>(&state_); }
  T&& value() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] Errno error() const noexcept { return *std::get_if<1>(&state_); }

  T& operator*() & noexcept { return value(); }
  const T& operator*() const& noexcept { return value(); }
  T&& operator*() && noexcept { return std::move(*this).value(); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }

 private:
  std::variant<T, Errno> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() noexcept : error_(EIO), ok_(true) {}
  // NOLINTNEXTLINE(google-explicit-constructor,hicpp-explicit-conversions)
  Result(Errno error) noexcept : error_(error), ok_(false) {}

  [[nodiscard]] bool has_value() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  [[nodiscard]] Errno error() const noexcept { return error_; }
  void value() const noexcept {}

 private:
  Errno error_;
  bool ok_;
};

// Success of an operation that returns nothing: `return ok();`
[[nodiscard]] inline Result<void> ok() noexcept { return {}; }

// Turns a system call's return value into a Result: negative means errno.
template <typename Int>
[[nodiscard]] Result<Int> check(Int returned) noexcept {
  if (returned < 0) return Errno::last();
  return returned;
}
template <typename Int>
[[nodiscard]] Result<void> check_void(Int returned) noexcept {
  if (returned < 0) return Errno::last();
  return {};
}

}  // namespace passthroughfs

// Evaluates to the value of a Result, or returns its error from the enclosing function.
// NOLINTNEXTLINE(cppcoreguidelines-macro-usage)
#define TRY(expression)                                       \
  __extension__({                                             \
    auto try_result_ = (expression);                          \
    if (!try_result_.has_value()) return try_result_.error(); \
    std::move(try_result_).value();                           \
  })
