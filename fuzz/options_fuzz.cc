// SPDX-License-Identifier: Apache-2.0
//
// Any words as a command line, one a line of the input: no word crashes, each refusal is one line,
// and what is accepted is accepted in the same way when it is given to the options one by one.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/mount_arguments.h"
#include "embed/mount_options.h"
#include "require.h"

namespace {

using namespace passthroughfs;

void require_one_line(const Error& error) { require(error.code > 0 && !error.message.empty()); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < size; ++i) {
    const char c = static_cast<char>(data[i]);
    if (c == '\n') {
      words.emplace_back();
    } else if (c != '\0') {  // no argument has one
      words.back() += c;
    }
  }
  for (const std::string& word : words) {
    std::size_t total = 0;
    for (const std::string& option : split_options(word)) total += option.size();
    require(total <= word.size());
  }
  std::vector<const char*> pointers;
  for (const std::string& word : words) pointers.push_back(word.c_str());
  const auto parsed = parse_mount_arguments(pointers);
  if (!parsed) {
    require_one_line(parsed.error());
    return 0;
  }
  if (parsed->help || parsed->version) return 0;
  require(!parsed->config.source.empty() && !parsed->config.mountpoint.empty());
  MountConfig config;
  for (const auto& [name, value] : parsed->options) {
    const MountOption* const row = find_mount_option(name);
    const bool has_value = row != nullptr ? row->kind != ValueKind::flag : !value.empty();
    require(apply_mount_option(config, name, value, has_value).has_value());
  }
  return 0;
}
