// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace passthroughfs {

// What an operation may change in the source: the effect column of the op table.
enum class Effect : std::uint8_t {
  none,
  content,     // data of the node
  names,       // names below the node (and below a second one for rename and link)
  attributes,  // mode, owner, times, extended attributes; for setattr also the size
  opens,       // nothing yet, but the open file may change content
};

[[nodiscard]] constexpr std::uint8_t bit_of(Effect effect) noexcept {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(effect));
}

// Whether an operation with this effect that has succeeded must have told the record of changes.
[[nodiscard]] constexpr bool must_tell(Effect effect) noexcept {
  return effect == Effect::content || effect == Effect::names || effect == Effect::attributes;
}

}  // namespace passthroughfs
