// SPDX-License-Identifier: Apache-2.0
#include "shrink.h"

#include <algorithm>
#include <cstdint>

namespace passthroughfs::difftest {
namespace {

using Clock = std::chrono::steady_clock;

class Shrinker {
 public:
  Shrinker(std::vector<Op> ops, const Fails& fails, Clock::time_point deadline)
      : ops_(std::move(ops)), fails_(fails), deadline_(deadline) {}

  std::vector<Op> run() {
    remove_groups();
    bool simpler = true;
    while (simpler && !late()) {
      simpler = simplify_all();
      // A simpler call can make another one superfluous.
      if (simpler) simpler = remove_singles();
    }
    return std::move(ops_);
  }

 private:
  bool late() const { return Clock::now() >= deadline_; }

  bool keep_if_fails(std::vector<Op> candidate) {
    if (late() || !fails_(candidate)) return false;
    ops_ = std::move(candidate);
    return true;
  }

  bool remove_range(std::size_t first, std::size_t count) {
    std::vector<Op> candidate = ops_;
    const auto at = candidate.begin() + static_cast<std::ptrdiff_t>(first);
    candidate.erase(at, at + static_cast<std::ptrdiff_t>(count));
    return keep_if_fails(std::move(candidate));
  }

  // From the end: what came early is more often needed by what came late than the other way round.
  bool remove_all_of_size(std::size_t size) {
    bool removed = false;
    for (std::size_t end = ops_.size(); end > 0 && !late();) {
      const std::size_t first = end > size ? end - size : 0;
      if (remove_range(first, end - first)) removed = true;
      end = first;
    }
    return removed;
  }

  void remove_groups() {
    for (std::size_t size = ops_.size() / 2; size > 1 && !late(); size /= 2) {
      remove_all_of_size(size);
      size = std::min(size, ops_.size());
    }
    while (remove_singles() && !late()) {
    }
  }

  bool remove_singles() { return remove_all_of_size(1); }

  bool simplify_all() {
    bool simpler = false;
    for (std::size_t i = 0; i < ops_.size() && !late(); ++i) {
      if (ops_[i].observe) simpler |= try_op(i, [](Op& op) { op.observe = false; });
      for (const ArgSpec& arg : spec(ops_[i].kind).args) simpler |= simplify(i, arg);
    }
    return simpler;
  }

  template <typename Change>
  bool try_op(std::size_t index, Change change) {
    std::vector<Op> candidate = ops_;
    change(candidate[index]);
    return keep_if_fails(std::move(candidate));
  }

  bool simplify(std::size_t index, const ArgSpec& arg) {
    if (const std::string* text = text_field(ops_[index], arg.field)) {
      return shorten(index, arg, *text);
    }
    const std::int64_t value = get_number(ops_[index], arg.field);
    const auto set = [&](std::int64_t to) {
      return to != value && try_op(index, [&](Op& op) { set_number(op, arg.field, to); });
    };
    if (arg.field == Field::kDir || arg.field == Field::kDir2) return false;
    if (is_flag_word(arg.show)) {
      bool simpler = false;
      for (std::int64_t bit = 1; bit <= value && bit > 0; bit <<= 1) {
        const std::int64_t now = get_number(ops_[index], arg.field);
        if ((now & bit) == 0) continue;
        simpler |= try_op(index, [&](Op& op) { set_number(op, arg.field, now & ~bit); });
      }
      return simpler;
    }
    if (arg.show != Show::kNumber || arg.field == Field::kFd || arg.field == Field::kFd2) {
      return false;
    }
    if (value == 0 || value == 1) return false;
    return set(0) || set(1) || (value > 8 && set(10)) || (value > 4096 && set(4096)) ||
           (value > 1 && set(value / 2));
  }

  // Decorations of a path: what is left without "./", "//" and a leading slash.
  bool shorten(std::size_t index, const ArgSpec& arg, const std::string& text) {
    std::string plain;
    for (const char c : text) {
      if (c == '/' && !plain.empty() && plain.back() == '/') continue;
      plain += c;
    }
    if (plain.size() > 1 && plain.back() == '/') plain.pop_back();
    if (plain == text) return false;
    return try_op(index, [&](Op& op) { *text_field(op, arg.field) = plain; });
  }

  std::vector<Op> ops_;
  const Fails& fails_;
  Clock::time_point deadline_;
};

}  // namespace

std::vector<Op> shrink(std::vector<Op> ops, const Fails& fails, Clock::time_point deadline) {
  return Shrinker(std::move(ops), fails, deadline).run();
}

}  // namespace passthroughfs::difftest
