// SPDX-License-Identifier: Apache-2.0
#include "embed/mount_options.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <limits>
#include <vector>

namespace passthroughfs {
namespace {

Error bad_value(std::string_view option, std::string_view value, std::string_view allowed) {
  return {EINVAL,
          fmt::format("bad value '{}' for option '{}'; allowed: {}", value, option, allowed)};
}

// Digits, optionally followed by K or M.
bool parse_number(std::string_view text, std::uint64_t& number) {
  std::uint64_t unit = 1;
  if (!text.empty() && (text.back() == 'K' || text.back() == 'k')) unit = 1U << 10;
  if (!text.empty() && (text.back() == 'M' || text.back() == 'm')) unit = 1U << 20;
  if (unit > 1) text.remove_suffix(1);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return false;
  if (number > std::numeric_limits<std::uint32_t>::max() / unit) return false;
  number *= unit;
  return true;
}

Outcome<void> set_size(std::uint32_t& field, std::string_view option, std::string_view value) {
  std::uint64_t number = 0;
  if (!parse_number(value, number) || number < 4096 || number > (16U << 20)) {
    return bad_value(option, value, "4096 to 16M (bytes, K or M)");
  }
  field = static_cast<std::uint32_t>(number);
  return {};
}

Outcome<void> set_threads(MountConfig& config, std::string_view value) {
  std::uint64_t number = 0;
  if (!parse_number(value, number) || number < 1 || number > 1024) {
    return bad_value("threads", value, "1 to 1024");
  }
  config.threads = static_cast<unsigned>(number);
  return {};
}

Outcome<void> set_seconds(unsigned& field, std::string_view option, std::string_view value) {
  std::uint64_t number = 0;
  if (!parse_number(value, number) || number > 86400) {
    return bad_value(option, value, "0 (never) to 86400 (seconds)");
  }
  field = static_cast<unsigned>(number);
  return {};
}

Outcome<void> set_text(std::string& field, std::string_view option, std::string_view value) {
  if (value.empty()) return bad_value(option, value, "a name that is not empty");
  field = value;
  return {};
}

using Config = MountConfig;
using Value = std::string_view;

constexpr auto kOptions = std::to_array<MountOption>({
    {"handles", ValueKind::choice, "table|stateless",
     "each open owns a handle, or each read and write opens the file",
     [](Config& c, Value v) -> Outcome<void> {
       c.handles = v == "table" ? HandleMode::table : HandleMode::stateless;
       return {};
     }},
    {"io", ValueKind::choice, "auto|passthrough|daemon",
     "where reads and writes run: in the kernel or in the daemon",
     [](Config& c, Value v) -> Outcome<void> {
       c.io = v == "auto"          ? IoMode::automatic
              : v == "passthrough" ? IoMode::passthrough
                                   : IoMode::daemon;
       return {};
     }},
    {"transport", ValueKind::choice, "auto|uring|dev",
     "FUSE over io_uring, or reads and writes on /dev/fuse",
     [](Config& c, Value v) -> Outcome<void> {
       c.transport = v == "auto"    ? TransportMode::automatic
                     : v == "uring" ? TransportMode::uring
                                    : TransportMode::dev;
       return {};
     }},
    {"cache", ValueKind::choice, "normal|none|forever|coherent",
     "how long names and attributes stay valid: 1 s, not at all, for ever, until a change",
     [](Config& c, Value v) -> Outcome<void> {
       c.cache = v == "normal"    ? CacheMode::normal
                 : v == "none"    ? CacheMode::none
                 : v == "forever" ? CacheMode::forever
                                  : CacheMode::coherent;
       return {};
     }},
    {"locks", ValueKind::choice, "auto|source|mount",
     "locks on files are the source's, or the mount's alone (auto: with cache=forever)",
     [](Config& c, Value v) -> Outcome<void> {
       c.locks = v == "auto"     ? LockMode::automatic
                 : v == "source" ? LockMode::source
                                 : LockMode::mount;
       return {};
     }},
    {"writeback", ValueKind::flag, "",
     "the kernel gathers writes and sends them later (with cache=forever, io=daemon)",
     [](Config& c, Value) -> Outcome<void> { return c.writeback = true, Outcome<void>(); }},
    {"threads", ValueKind::value, "N", "workers (default: one per CPU)", set_threads},
    {"journal", ValueKind::value, "FILE|memory|off",
     "where changes are recorded (default: a file of this source below the state directory)",
     [](Config& c, Value v) -> Outcome<void> {
       c.journal = v == "memory" ? JournalMode::memory
                   : v == "off"  ? JournalMode::off
                                 : JournalMode::file;
       c.journal_file = c.journal == JournalMode::file ? std::string(v) : std::string();
       return {};
     }},
    {"recover", ValueKind::choice, "on|off", "survive a crash of the serving process",
     [](Config& c, Value v) -> Outcome<void> {
       c.recover = v == "on";
       return {};
     }},
    {"hung_after", ValueKind::value, "SECONDS",
     "log requests that get no answer for so long (default: 10; 0: never)",
     [](Config& c, Value v) { return set_seconds(c.hung_after, "hung_after", v); }},
    {"replace_after", ValueKind::value, "SECONDS",
     "recover=on: replace a server that is silent for so long (default: 30; 0: never)",
     [](Config& c, Value v) { return set_seconds(c.replace_after, "replace_after", v); }},
    {"ro", ValueKind::flag, "", "read-only",
     [](Config& c, Value) -> Outcome<void> { return c.read_only = true, Outcome<void>(); }},
    {"allow_other", ValueKind::flag, "", "other users may use the mount",
     [](Config& c, Value) -> Outcome<void> { return c.allow_other = true, Outcome<void>(); }},
    {"allow_root", ValueKind::flag, "", "root may use the mount too",
     [](Config& c, Value) -> Outcome<void> { return c.allow_root = true, Outcome<void>(); }},
    {"noatime", ValueKind::flag, "", "reading does not update access times",
     [](Config& c, Value) -> Outcome<void> { return c.noatime = true, Outcome<void>(); }},
    {"nodev", ValueKind::flag, "", "device files are not devices",
     [](Config& c, Value) -> Outcome<void> { return c.nodev = true, Outcome<void>(); }},
    {"nosuid", ValueKind::flag, "", "setuid and setgid bits have no effect",
     [](Config& c, Value) -> Outcome<void> { return c.nosuid = true, Outcome<void>(); }},
    {"noexec", ValueKind::flag, "", "programs cannot be executed",
     [](Config& c, Value) -> Outcome<void> { return c.noexec = true, Outcome<void>(); }},
    {"fsname", ValueKind::value, "NAME", "the source's name in the mount table (default: its path)",
     [](Config& c, Value v) { return set_text(c.fsname, "fsname", v); }},
    {"subtype", ValueKind::value, "NAME",
     "the type in the mount table is fuse.NAME (default: passthroughfs)",
     [](Config& c, Value v) { return set_text(c.subtype, "subtype", v); }},
    {"max_read", ValueKind::value, "BYTES", "largest read request (default: max_write)",
     [](Config& c, Value v) { return set_size(c.max_read, "max_read", v); }},
    {"max_write", ValueKind::value, "BYTES", "largest write request (default: 1M)",
     [](Config& c, Value v) { return set_size(c.max_write, "max_write", v); }},
    {"default_permissions", ValueKind::flag, "", "accepted; the kernel always checks permissions",
     [](Config&, Value) -> Outcome<void> { return {}; }},
});

// What mount(8) and fstab(5) pass to every helper, without a meaning here.
constexpr auto kIgnored = std::to_array<std::string_view>(
    {"defaults", "auto",   "noauto",   "user",       "nouser",   "users",
     "nousers",  "group",  "nogroup",  "owner",      "noowner",  "_netdev",
     "async",    "nofail", "diratime", "nodiratime", "comment",  "loud",
     "silent",   "nomand", "lazytime", "nolazytime", "iversion", "noiversion"});

// Words that undo an option given earlier ("nodev,dev").
bool apply_opposite(MountConfig& config, std::string_view name) {
  struct Opposite {
    std::string_view name;
    bool MountConfig::*field;
  };
  static constexpr std::array<Opposite, 7> kOpposites = {{{"rw", &MountConfig::read_only},
                                                          {"dev", &MountConfig::nodev},
                                                          {"suid", &MountConfig::nosuid},
                                                          {"exec", &MountConfig::noexec},
                                                          {"atime", &MountConfig::noatime},
                                                          {"relatime", &MountConfig::noatime},
                                                          {"strictatime", &MountConfig::noatime}}};
  for (const Opposite& opposite : kOpposites) {
    if (opposite.name != name) continue;
    config.*opposite.field = false;
    return true;
  }
  return false;
}

std::string comma_list(std::string_view values) {
  std::string list;
  for (const char c : values) {
    if (c == '|') {
      list += ", ";
    } else {
      list += c;
    }
  }
  return list;
}

bool is_choice(std::string_view values, std::string_view value) {
  if (value.empty() || value.find('|') != std::string_view::npos) return false;
  std::size_t at = 0;
  while (at <= values.size()) {
    const std::size_t end = std::min(values.find('|', at), values.size());
    if (values.substr(at, end - at) == value) return true;
    at = end + 1;
  }
  return false;
}

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({replaced, d[i - 1][j] + 1, d[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::span<const MountOption> mount_options() noexcept { return kOptions; }

const MountOption* find_mount_option(std::string_view name) noexcept {
  const auto* row = std::find_if(kOptions.begin(), kOptions.end(),
                                 [&](const MountOption& option) { return option.name == name; });
  return row == kOptions.end() ? nullptr : row;
}

bool is_ignored_mount_word(std::string_view name) noexcept {
  return name.starts_with("x-") || name.starts_with("X-") ||
         std::find(kIgnored.begin(), kIgnored.end(), name) != kIgnored.end();
}

std::string_view nearest_name(std::string_view word, std::span<const std::string_view> names) {
  constexpr std::size_t kLongestWord = 64;  // the distance costs the product of both lengths
  if (word.empty() || word.size() > kLongestWord) return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string_view name : names) {
    const std::size_t distance = edit_distance(word, name);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

Error unknown_option(std::string_view name, std::span<const std::string_view> names) {
  std::vector<std::string_view> known(names.begin(), names.end());
  for (const MountOption& option : kOptions) known.push_back(option.name);
  const std::string_view nearest = nearest_name(name, known);
  if (nearest.empty()) return {EINVAL, fmt::format("unknown option '{}'", name)};
  return {EINVAL, fmt::format("unknown option '{}'; did you mean '{}'?", name, nearest)};
}

Outcome<void> apply_mount_option(MountConfig& config, std::string_view name, std::string_view value,
                                 bool has_value) {
  const MountOption* option = find_mount_option(name);
  if (option == nullptr) {
    if (is_ignored_mount_word(name)) return {};
    if (!has_value && apply_opposite(config, name)) return {};
    if (name == "remount") return Error{ENOTSUP, "a mount cannot be changed; unmount it first"};
    return unknown_option(name);
  }
  switch (option->kind) {
    case ValueKind::flag:
      if (has_value) {
        return Error{EINVAL,
                     fmt::format("option '{}' takes no value, but '{}' was given", name, value)};
      }
      break;
    case ValueKind::choice:
      if (!has_value) {
        return Error{
            EINVAL, fmt::format("option '{}' needs a value: {}", name, comma_list(option->values))};
      }
      if (!is_choice(option->values, value)) {
        return bad_value(name, value, comma_list(option->values));
      }
      break;
    case ValueKind::value:
      if (!has_value || value.empty()) {
        return Error{
            EINVAL, fmt::format("option '{}' needs a value: {}", name, comma_list(option->values))};
      }
      break;
  }
  return option->apply(config, value);
}

}  // namespace passthroughfs
