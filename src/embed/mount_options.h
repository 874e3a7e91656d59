// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "ops/options.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

enum class ValueKind : std::uint8_t { flag, choice, value };

// A mount option: one row of the table that `-o`, `--name`, fstab, Filesystem::configure and the
// help text share.
struct MountOption {
  std::string_view name;
  ValueKind kind;
  std::string_view values;  // choice: "table|stateless", the default first; value: "N", "BYTES"
  std::string_view help;
  // Checks the value and stores it. A flag gets an empty value, a choice one of its values.
  Outcome<void> (*apply)(MountConfig&, std::string_view value);
};

// In the order of the help text. Constant.
[[nodiscard]] std::span<const MountOption> mount_options() noexcept;
[[nodiscard]] const MountOption* find_mount_option(std::string_view name) noexcept;

// Applies one option. Words that mount(8) and fstab(5) pass to every helper and that mean nothing
// here are accepted. Errors: EINVAL (unknown, or bad value), ENOTSUP (not in this version); the
// message is complete.
Outcome<void> apply_mount_option(MountConfig& config, std::string_view name, std::string_view value,
                                 bool has_value);

// The error for an unknown option; `names` are those that the caller knows besides this table.
[[nodiscard]] Error unknown_option(std::string_view name,
                                   std::span<const std::string_view> names = {});

// True for a word that mount(8) or fstab(5) pass and that is ignored (not: rw, dev and the other
// words that undo an option; those are applied).
[[nodiscard]] bool is_ignored_mount_word(std::string_view name) noexcept;

// The one of `names` that `word` was probably meant to be; empty when none is near.
[[nodiscard]] std::string_view nearest_name(std::string_view word,
                                            std::span<const std::string_view> names);

}  // namespace passthroughfs
