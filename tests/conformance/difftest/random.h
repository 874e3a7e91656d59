// SPDX-License-Identifier: Apache-2.0
//
// Random numbers that are the same on every machine for the same seed (the standard library's
// distributions are not).
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace passthroughfs::difftest {

// Scrambles a number; neighbours come out unrelated.
inline std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Not thread-safe.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(mix(seed)) {}

  std::uint64_t next() { return mix(state_++); }
  // 0 .. bound-1. `bound` is not 0.
  std::uint64_t below(std::uint64_t bound) {
    assert(bound != 0);
    return next() % bound;
  }
  bool percent(unsigned share) { return below(100) < share; }
  // One in `n`.
  bool one_in(std::uint64_t n) { return below(n) == 0; }

  template <typename T, std::size_t kSize>
  const T& pick(const std::array<T, kSize>& from) {
    return from[below(kSize)];
  }
  std::int64_t pick(std::initializer_list<std::int64_t> from) {
    return from.begin()[below(from.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace passthroughfs::difftest
