// SPDX-License-Identifier: Apache-2.0
#include "cli/stats_text.h"

#include <fmt/format.h>  // not core.h: clang does not find its format_to in a library of gcc

#include <algorithm>
#include <cmath>
#include <iterator>

#include "cli/table.h"
#include "proto/messages.h"
#include "proto/text.h"

namespace passthroughfs {

std::string stats_header(const MountInfo& info, const Statistics& stats) {
  std::string text;
  auto out = std::back_inserter(text);
  fmt::format_to(out, "{} at {}, daemon {} (version {})\n", escape_for_terminal(info.source),
                 escape_for_terminal(info.mountpoint), info.pid, info.version);
  fmt::format_to(
      out, "transport {}, handles {}, io {}{}, cache {}{}, locks {}, {} workers + {} overflow\n",
      stats.transport, stats.handles_mode, stats.io,
      stats.io_reason.empty() ? "" : fmt::format(" ({})", stats.io_reason), stats.cache,
      stats.writeback ? " with writeback" : "", stats.locks, stats.workers, stats.overflow_threads);
  fmt::format_to(out,
                 "{} inodes ({} of {} descriptors, limit {}; {} evicted, {} restored), "
                 "{} handles, {} lock waiters, tables {}\n",
                 stats.inodes, stats.inode_descriptors, stats.descriptor_budget,
                 stats.descriptor_limit, stats.evictions, stats.restores, stats.handles,
                 stats.lock_waiters, format_bytes(static_cast<double>(stats.table_bytes)));
  if (stats.recover) {
    fmt::format_to(
        out, "recover on: guardian {}, server {}, {} so far{}\n", stats.guardian_pid,
        stats.server_pid, stats.server_starts,
        stats.last_pause_ns == 0
            ? ""
            : ", last pause " + format_duration(static_cast<double>(stats.last_pause_ns)));
  }
  if (stats.kept_by_manager) {
    fmt::format_to(out,
                   "kept by the service manager: all processes were gone {} times, {} open files, "
                   "{} owners' locks and {} inodes were lost; {} inodes are not saved yet\n",
                   stats.revivals, stats.lost_files, stats.lost_locks, stats.lost_inodes,
                   stats.unsaved_inodes);
  }
  for (const std::string& note : stats.notes) {
    fmt::format_to(out, "note: {}\n", escape_for_terminal(note));
  }
  return text;
}

std::string operations_table(const Statistics& stats, double seconds) {
  Table table({{"OPERATION", Table::Align::left},
               {seconds > 0 ? "PER SECOND" : "COUNT"},
               {"ERRORS"},
               {"MEAN"},
               {"P50"},
               {"P90"},
               {"P99"},
               {"MAX"}});
  auto sorted = stats.operations;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.count > b.count; });
  for (const OperationStatistics& operation : sorted) {
    const auto count = static_cast<double>(operation.count);
    const double mean = count > 0 ? static_cast<double>(operation.total_ns) / count : 0;
    table.add(
        {operation.name,
         seconds > 0 ? fmt::format("{:.1f}", count / seconds) : fmt::format("{}", operation.count),
         fmt::format("{}", operation.errors), format_duration(mean),
         format_duration(operation.percentile_ns(0.5)),
         format_duration(operation.percentile_ns(0.9)),
         format_duration(operation.percentile_ns(0.99)), format_duration(operation.max_ns())});
  }
  return table.text();
}

std::string stats_text(const MountInfo& info, const Statistics& stats) {
  return stats_header(info, stats) + '\n' + operations_table(stats, 0);
}

std::string stats_json(const MountInfo& info, const Statistics& stats) {
  Json json(info);
  const Json numbers(stats);
  for (const auto& [name, value] : numbers.items()) json[name] = value;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

Statistics difference(const Statistics& now, const Statistics& before) {
  Statistics result = now;
  for (OperationStatistics& operation : result.operations) {
    const auto old =
        std::find_if(before.operations.begin(), before.operations.end(),
                     [&](const auto& candidate) { return candidate.name == operation.name; });
    if (old == before.operations.end()) continue;
    // Counters are read one after the other, so a later one may be ahead of an earlier one.
    auto minus = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
    operation.count = minus(operation.count, old->count);
    operation.errors = minus(operation.errors, old->errors);
    operation.total_ns = minus(operation.total_ns, old->total_ns);
    for (std::size_t i = 0; i < std::min(operation.latency.size(), old->latency.size()); ++i) {
      operation.latency[i] = minus(operation.latency[i], old->latency[i]);
    }
  }
  std::erase_if(result.operations, [](const auto& operation) { return operation.count == 0; });
  return result;
}

namespace {

std::string label_value(std::string_view text) {
  std::string result;
  for (const char c : to_utf8(text)) {
    if (c == '\n') {
      result += "\\n";
    } else if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace

std::string stats_prometheus(const MountInfo& info, const Statistics& stats) {
  std::string text;
  auto out = std::back_inserter(text);
  const std::string mount = fmt::format("mountpoint=\"{}\"", label_value(info.mountpoint));
  auto head = [&](const char* name, const char* type, const char* help) {
    fmt::format_to(out, "# HELP passthroughfs_{0} {2}\n# TYPE passthroughfs_{0} {1}\n", name, type,
                   help);
  };
  auto metric = [&](const char* name, const char* type, const char* help, auto value) {
    head(name, type, help);
    fmt::format_to(out, "passthroughfs_{}{{{}}} {}\n", name, mount, value);
  };

  head("info", "gauge", "What the mount is; always 1.");
  fmt::format_to(out,
                 "passthroughfs_info{{{},source=\"{}\",version=\"{}\",transport=\"{}\","
                 "handles=\"{}\",io=\"{}\",cache=\"{}\",writeback=\"{}\",locks=\"{}\"}} 1\n",
                 mount, label_value(info.source), label_value(info.version),
                 label_value(stats.transport), label_value(stats.handles_mode),
                 label_value(stats.io), label_value(stats.cache), stats.writeback,
                 label_value(stats.locks));
  metric("inodes", "gauge", "Inodes known to the kernel.", stats.inodes);
  metric("inode_descriptors", "gauge", "Descriptors held for inodes.", stats.inode_descriptors);
  metric("descriptor_budget", "gauge", "Descriptors that inodes may hold.",
         stats.descriptor_budget);
  metric("descriptor_limit", "gauge", "RLIMIT_NOFILE of the daemon.", stats.descriptor_limit);
  metric("descriptor_evictions_total", "counter", "Descriptors replaced by file handles.",
         stats.evictions);
  metric("descriptor_restores_total", "counter", "Descriptors opened again from file handles.",
         stats.restores);
  metric("handles", "gauge", "Open files and directories.", stats.handles);
  metric("lock_waiters", "gauge", "Lock requests that wait.", stats.lock_waiters);
  metric("hung_requests", "gauge", "Requests without an answer for longer than hung_after.",
         stats.hung_requests);
  metric("revivals_total", "counter", "Times that all processes of the mount were gone.",
         stats.revivals);
  metric("lost_files_total", "counter", "Open files that were lost with all processes.",
         stats.lost_files);
  metric("lost_locks_total", "counter", "Owners whose locks were lost with all processes.",
         stats.lost_locks);
  metric("unsaved_inodes", "gauge", "Inodes that would be lost with all processes.",
         stats.unsaved_inodes);
  metric("table_bytes", "gauge", "Memory of the inode and handle tables.", stats.table_bytes);
  metric("workers", "gauge", "Worker threads.", stats.workers);
  metric("overflow_threads", "gauge", "Threads for calls that may block.", stats.overflow_threads);
  metric("notes", "gauge", "Degraded modes; `passthroughfs stats` names them.", stats.notes.size());

  head("operation_errors_total", "counter", "Requests that were answered with an error.");
  for (const OperationStatistics& operation : stats.operations) {
    fmt::format_to(out, "passthroughfs_operation_errors_total{{{},operation=\"{}\"}} {}\n", mount,
                   label_value(operation.name), operation.errors);
  }
  head("operation_duration_seconds", "histogram", "Requests by the time that they took.");
  for (const OperationStatistics& operation : stats.operations) {
    const std::string labels =
        fmt::format("{},operation=\"{}\"", mount, label_value(operation.name));
    std::uint64_t below = 0;
    // From 1 us (2^10 ns) to 17 s (2^34 ns); what is faster is in the first bucket.
    constexpr std::size_t kFirst = 9;
    constexpr std::size_t kLast = 33;
    for (std::size_t i = 0; i <= kLast; ++i) {
      if (i < operation.latency.size()) below += operation.latency[i];
      if (i < kFirst) continue;
      fmt::format_to(out,
                     "passthroughfs_operation_duration_seconds_bucket{{{},le=\"{:.9g}\"}} {}\n",
                     labels, std::exp2(static_cast<double>(i + 1)) / 1e9, below);
    }
    for (std::size_t i = kLast + 1; i < operation.latency.size(); ++i) {
      below += operation.latency[i];
    }
    // The histogram's count has to be the sum of its buckets, whatever came in meanwhile.
    fmt::format_to(out,
                   "passthroughfs_operation_duration_seconds_bucket{{{0},le=\"+Inf\"}} {1}\n"
                   "passthroughfs_operation_duration_seconds_sum{{{0}}} {2:.9g}\n"
                   "passthroughfs_operation_duration_seconds_count{{{0}}} {1}\n",
                   labels, below, static_cast<double>(operation.total_ns) / 1e9);
  }
  return text;
}

}  // namespace passthroughfs
