// SPDX-License-Identifier: Apache-2.0
#include "proto/messages.h"

#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "proto/bytes_field.h"
#include "proto/text.h"

namespace passthroughfs {
namespace {

Error not_understood(std::string_view what) { return {EPROTO, fmt::format("{}", what)}; }

// Names in messages may be of any bytes; what is not Unicode is shown as replaced.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

template <typename T>
void read_field(const Json& json, const char* name, T& field) {
  if (const auto found = json.find(name); found != json.end()) found->get_to(field);
}

}  // namespace

void put_bytes(Json& json, const std::string& name, const std::string& bytes) {
  if (is_utf8(bytes)) {
    json[name] = bytes;
  } else {
    json[name] = to_utf8(bytes);
    json[name + "_base64"] = encode_base64(bytes);
  }
}

void get_bytes(const Json& json, const std::string& name, std::string& bytes) {
  json.at(name).get_to(bytes);
  std::string encoded;
  read_field(json, (name + "_base64").c_str(), encoded);
  if (encoded.empty()) return;
  if (auto decoded = decode_base64(encoded)) bytes = std::move(*decoded);
}

std::string encode_request(const ControlRequest& request) {
  Json json{{"command", request.command}};
  if (!request.arguments.empty()) json["arguments"] = request.arguments;
  return dump(json);
}

Outcome<ControlRequest> decode_request(std::string_view line) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return not_understood("the request is not a JSON object");
  ControlRequest request;
  const auto command = json.find("command");
  if (command == json.end() || !command->is_string()) {
    return not_understood("the request has no \"command\"");
  }
  request.command = command->get<std::string>();
  if (const auto arguments = json.find("arguments"); arguments != json.end()) {
    if (!arguments->is_object()) return not_understood("\"arguments\" is not a JSON object");
    request.arguments = *arguments;
  }
  return request;
}

std::string encode_reply(const Json& result) { return dump(Json{{"result", result}}); }

std::string encode_reply(const Error& error) {
  Json json;
  json["error"] = Json{{"code", error.code}, {"message", error.message}};
  return dump(json);
}

Outcome<Json> decode_reply(std::string_view line) {
  Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return not_understood("the daemon's answer is not a JSON object");
  if (const auto result = json.find("result"); result != json.end()) return std::move(*result);
  const auto error = json.find("error");
  if (error == json.end() || !error->is_object()) {
    return not_understood("the daemon's answer has no result");
  }
  try {
    Error sent{EPROTO, "the daemon refused"};
    read_field(*error, "code", sent.code);
    read_field(*error, "message", sent.message);
    return sent;
  } catch (const Json::exception&) {
    return not_understood("the daemon's answer is not understood");
  }
}

void to_json(Json& json, const OpenFileInfo& file) {
  json = Json::object();
  json["fh"] = file.fh;
  put_bytes(json, "path", file.path);
  json["flags"] = file.flags;
  json["nodeid"] = file.nodeid;
  json["io"] = file.io;
  json["pid"] = file.pid;
  json["opened"] = format_time(file.opened);
  json["reads"] = file.reads;
  json["writes"] = file.writes;
  json["bytes_read"] = file.bytes_read;
  json["bytes_written"] = file.bytes_written;
  json["deleted"] = file.deleted;
}

void from_json(const Json& json, OpenFileInfo& file) {
  json.at("fh").get_to(file.fh);
  get_bytes(json, "path", file.path);
  read_field(json, "flags", file.flags);
  read_field(json, "nodeid", file.nodeid);
  read_field(json, "io", file.io);
  read_field(json, "pid", file.pid);
  if (auto time = parse_time(json.value("opened", ""))) file.opened = *time;
  read_field(json, "reads", file.reads);
  read_field(json, "writes", file.writes);
  read_field(json, "bytes_read", file.bytes_read);
  read_field(json, "bytes_written", file.bytes_written);
  read_field(json, "deleted", file.deleted);
}

void to_json(Json& json, const OpenFilePage& page) {
  json = Json::object();
  json["handles"] = page.files;
  json["next"] = page.next;
}

void from_json(const Json& json, OpenFilePage& page) {
  if (json.is_array()) {
    json.get_to(page.files);
    page.next = 0;
    return;
  }
  json.at("handles").get_to(page.files);
  json.at("next").get_to(page.next);
}

void to_json(Json& json, const OperationStatistics& operation) {
  auto us = [](double ns) { return std::round(ns / 10) / 100; };
  json = Json::object();
  json["name"] = operation.name;
  json["count"] = operation.count;
  json["errors"] = operation.errors;
  json["mean_us"] = us(operation.count == 0 ? 0
                                            : static_cast<double>(operation.total_ns) /
                                                  static_cast<double>(operation.count));
  json["p50_us"] = us(operation.percentile_ns(0.5));
  json["p90_us"] = us(operation.percentile_ns(0.9));
  json["p99_us"] = us(operation.percentile_ns(0.99));
  json["max_us"] = us(operation.max_ns());
  json["total_ns"] = operation.total_ns;
  json["latency_log2_ns"] = operation.latency;
}

void from_json(const Json& json, OperationStatistics& operation) {
  json.at("name").get_to(operation.name);
  read_field(json, "count", operation.count);
  read_field(json, "errors", operation.errors);
  read_field(json, "total_ns", operation.total_ns);
  read_field(json, "latency_log2_ns", operation.latency);
}

void to_json(Json& json, const Statistics& stats) {
  json = Json::object();
  json["operations"] = stats.operations;
  json["inodes"] = stats.inodes;
  json["inode_descriptors"] = stats.inode_descriptors;
  json["descriptor_budget"] = stats.descriptor_budget;
  json["descriptor_limit"] = stats.descriptor_limit;
  json["evictions"] = stats.evictions;
  json["restores"] = stats.restores;
  json["handles"] = stats.handles;
  json["lock_waiters"] = stats.lock_waiters;
  json["hung_requests"] = stats.hung_requests;
  json["table_bytes"] = stats.table_bytes;
  json["workers"] = stats.workers;
  json["overflow_threads"] = stats.overflow_threads;
  json["transport"] = stats.transport;
  json["handles_mode"] = stats.handles_mode;
  json["io"] = stats.io;
  json["io_reason"] = stats.io_reason;
  json["cache"] = stats.cache;
  json["writeback"] = stats.writeback;
  json["journal"] = stats.journal;
  json["source_known"] = stats.source_known;
  json["recover"] = stats.recover ? "on" : "off";
  json["guardian_pid"] = stats.guardian_pid;
  json["server_pid"] = stats.server_pid;
  json["server_starts"] = stats.server_starts;
  json["last_pause_ns"] = stats.last_pause_ns;
  json["deputy_pid"] = stats.deputy_pid;
  json["upgrades"] = stats.upgrades;
  json["upgrade_failure"] = stats.upgrade_failure;
  json["kept_by_manager"] = stats.kept_by_manager;
  json["revivals"] = stats.revivals;
  json["lost_files"] = stats.lost_files;
  json["lost_locks"] = stats.lost_locks;
  json["lost_inodes"] = stats.lost_inodes;
  json["unsaved_inodes"] = stats.unsaved_inodes;
  json["locks"] = stats.locks;
  json["notes"] = stats.notes;
}

void from_json(const Json& json, Statistics& stats) {
  json.at("operations").get_to(stats.operations);
  read_field(json, "inodes", stats.inodes);
  read_field(json, "inode_descriptors", stats.inode_descriptors);
  read_field(json, "descriptor_budget", stats.descriptor_budget);
  read_field(json, "descriptor_limit", stats.descriptor_limit);
  read_field(json, "evictions", stats.evictions);
  read_field(json, "restores", stats.restores);
  read_field(json, "handles", stats.handles);
  read_field(json, "lock_waiters", stats.lock_waiters);
  read_field(json, "hung_requests", stats.hung_requests);
  read_field(json, "table_bytes", stats.table_bytes);
  read_field(json, "workers", stats.workers);
  read_field(json, "overflow_threads", stats.overflow_threads);
  read_field(json, "transport", stats.transport);
  read_field(json, "handles_mode", stats.handles_mode);
  read_field(json, "io", stats.io);
  read_field(json, "io_reason", stats.io_reason);
  read_field(json, "cache", stats.cache);
  read_field(json, "writeback", stats.writeback);
  read_field(json, "journal", stats.journal);
  read_field(json, "source_known", stats.source_known);
  std::string recover;
  read_field(json, "recover", recover);
  stats.recover = recover == "on";
  read_field(json, "guardian_pid", stats.guardian_pid);
  read_field(json, "server_pid", stats.server_pid);
  read_field(json, "server_starts", stats.server_starts);
  read_field(json, "last_pause_ns", stats.last_pause_ns);
  read_field(json, "deputy_pid", stats.deputy_pid);
  read_field(json, "upgrades", stats.upgrades);
  read_field(json, "upgrade_failure", stats.upgrade_failure);
  read_field(json, "kept_by_manager", stats.kept_by_manager);
  read_field(json, "revivals", stats.revivals);
  read_field(json, "lost_files", stats.lost_files);
  read_field(json, "lost_locks", stats.lost_locks);
  read_field(json, "lost_inodes", stats.lost_inodes);
  read_field(json, "unsaved_inodes", stats.unsaved_inodes);
  read_field(json, "locks", stats.locks);
  read_field(json, "notes", stats.notes);
}

void to_json(Json& json, const MountInfo& info) {
  json = Json::object();
  put_bytes(json, "source", info.source);
  put_bytes(json, "mountpoint", info.mountpoint);
  json["version"] = info.version;
  json["pid"] = info.pid;
}

void from_json(const Json& json, MountInfo& info) {
  get_bytes(json, "source", info.source);
  get_bytes(json, "mountpoint", info.mountpoint);
  read_field(json, "version", info.version);
  read_field(json, "pid", info.pid);
}

std::string format_time(std::chrono::system_clock::time_point time) {
  using std::chrono::milliseconds;
  const auto since = std::chrono::floor<milliseconds>(time.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const auto clock = static_cast<time_t>(seconds.count());
  std::tm utc{};
  (void)gmtime_r(&clock, &utc);
  std::array<char, 40> text{};
  (void)strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", text.data(), (since - seconds).count());
}

Outcome<std::chrono::system_clock::time_point> parse_time(const std::string& text) {
  std::tm utc{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  unsigned ms = 0;
  int length = 0;
  if (rest == nullptr || std::sscanf(rest, ".%3uZ%n", &ms, &length) != 1 || length != 5) {
    return not_understood("not a time");
  }
  // The clock's time points are nanoseconds, which do not reach beyond the years 1678 to 2261.
  constexpr std::time_t kFurthest = 9'000'000'000;
  const std::time_t seconds = timegm(&utc);
  if (seconds < -kFurthest || seconds > kFurthest) return not_understood("not a time");
  return std::chrono::system_clock::from_time_t(seconds) + std::chrono::milliseconds(ms);
}

}  // namespace passthroughfs
