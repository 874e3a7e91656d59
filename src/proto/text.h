// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace passthroughfs {

// File names are bytes; JSON strings are Unicode. These carry the one through the other.

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;
// With U+FFFD for each byte that does not belong to valid UTF-8.
[[nodiscard]] std::string to_utf8(std::string_view text);

[[nodiscard]] std::string encode_base64(std::string_view bytes);
// nullopt: not base64 with padding.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

// For a terminal: control characters, invalid UTF-8 and backslashes as \n, \033, \\.
[[nodiscard]] std::string escape_for_terminal(std::string_view text);

}  // namespace passthroughfs
