// SPDX-License-Identifier: Apache-2.0
//
// Times single file operations below a directory, for one or several clients, and prints JSON. It
// knows nothing of mounts: bench/run points it at the directories that it wants compared.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "held_files.h"
#include "operations.h"

namespace passthroughfs::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string dir;
  std::string source;
  std::string population;
  std::vector<std::string> names;
  std::uint64_t files = 0;
  std::uint64_t hold = 0;
  std::uint64_t count = 0;  // 0: until the time is over
  double seconds = 1;
  unsigned clients = 1;
  bool processes = false;
  bool pin = false;
  bool flat = false;
};

void usage(std::FILE* to) {
  std::fputs(
      "usage: pfs_microbench DIR --op NAME[,NAME...] [options]\n\n"
      "  --seconds S        measure each operation for S seconds (1)\n"
      "  --count N          or for N repetitions per client, however long that takes\n"
      "  --clients N        that many at once (1), each in its own directory below DIR\n"
      "  --mode M           clients are `threads` (default) or `processes`\n"
      "  --pin              client i stays on CPU i\n"
      "  --source DIR2      the directory under DIR's mount, for preparing files behind it\n"
      "  --hold N           keep N other files open meanwhile, in other processes\n"
      "  --population DIR3  prepared files for readdir and *_each: DIR3/dNNNN/fNNNNNNN\n"
      "  --files N          how many of them\n"
      "  --flat             they are DIR3/fNNNNNNN\n\noperations:\n",
      to);
  for (const OperationInfo& info : operations()) {
    std::fprintf(to, "  %-16s %s\n", info.name.data(), info.help.data());
  }
}

[[noreturn]] void bad_usage(const std::string& what) {
  std::fprintf(stderr, "pfs_microbench: %s (see --help)\n", what.c_str());
  std::exit(2);
}

template <typename T>
T number(const std::string& option, const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) bad_usage("bad value '" + text + "' for " + option);
  return value;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

Options parse(const std::vector<std::string>& args) {
  Options options;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == args.size()) bad_usage(arg + " needs a value");
      return args[++i];
    };
    if (arg == "--help") {
      usage(stdout);
      std::exit(0);
    } else if (arg == "--op") {
      options.names = split(value());
    } else if (arg == "--seconds") {
      options.seconds = number<double>(arg, value());
    } else if (arg == "--count") {
      options.count = number<std::uint64_t>(arg, value());
    } else if (arg == "--clients") {
      options.clients = number<unsigned>(arg, value());
    } else if (arg == "--mode") {
      const std::string& mode = value();
      if (mode != "threads" && mode != "processes") bad_usage("unknown mode '" + mode + "'");
      options.processes = mode == "processes";
    } else if (arg == "--pin") {
      options.pin = true;
    } else if (arg == "--source") {
      options.source = value();
    } else if (arg == "--hold") {
      options.hold = number<std::uint64_t>(arg, value());
    } else if (arg == "--population") {
      options.population = value();
    } else if (arg == "--files") {
      options.files = number<std::uint64_t>(arg, value());
    } else if (arg == "--flat") {
      options.flat = true;
    } else if (!arg.starts_with("-") && options.dir.empty()) {
      options.dir = arg;
    } else {
      bad_usage("unknown argument '" + arg + "'");
    }
  }
  if (options.dir.empty() || options.names.empty()) bad_usage("DIR and --op are needed");
  if (options.clients == 0 || options.clients > 1024) bad_usage("--clients: 1 to 1024");
  if (options.source.empty()) options.source = options.dir;
  return options;
}

const OperationInfo& find_operation(const std::string& name) {
  for (const OperationInfo& info : operations()) {
    if (info.name == name) return info;
  }
  bad_usage("no operation '" + name + "'");
}

// In memory that all clients see, be they threads or processes.
struct Shared {
  pthread_barrier_t start;
  struct Client {
    std::uint64_t repetitions;
    std::uint64_t nanoseconds;  // of the timed parts alone
    double median;              // of the batches, nanoseconds per repetition
  } clients[1024];
};

double median(std::vector<double>& values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void run_client(const Options& options, const OperationInfo& info, unsigned client,
                Shared& shared) {
  if (options.pin) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(client % std::max(1U, std::thread::hardware_concurrency()), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity", "");
  }
  const std::string name =
      "/microbench-" + std::to_string(::getpid()) + "-" + std::to_string(client);
  const Workspace space{options.dir + name, options.source + name, options.population,
                        options.files,      options.flat,          client};
  // Made through the mount, so that a client never works in a directory that the mount may believe
  // to be missing.
  if (::mkdir(space.dir.c_str(), 0755) != 0) fail("mkdir", space.dir);
  {
    const std::unique_ptr<Operation> operation = info.make(space);
    const auto timed_batch = [&](std::uint64_t repetitions) {
      operation->prepare(repetitions);
      const Clock::time_point start = Clock::now();
      operation->run(repetitions);
      const Clock::duration spent = Clock::now() - start;
      operation->finish(repetitions);
      return spent;
    };
    timed_batch(operation->batch());  // warm
    pthread_barrier_wait(&shared.start);

    const auto wanted =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
    // What is not timed (making files to unlink) may not stretch a run without limit.
    const Clock::time_point limit = Clock::now() + 3 * wanted;
    Clock::duration timed{};
    std::uint64_t done = 0;
    std::vector<double> batches;
    while (options.count > 0 ? done < options.count : timed < wanted && Clock::now() < limit) {
      const std::uint64_t batch = options.count > 0
                                      ? std::min(operation->batch(), options.count - done)
                                      : operation->batch();
      const Clock::duration spent = timed_batch(batch);
      batches.push_back(std::chrono::duration<double, std::nano>(spent).count() /
                        static_cast<double>(batch));
      timed += spent;
      done += batch;
    }
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(timed).count();
    shared.clients[client] = {done, static_cast<std::uint64_t>(nanoseconds), median(batches)};
  }
  if (::rmdir(space.dir.c_str()) != 0) fail("rmdir", space.dir);
}

void run_threads(const Options& options, const OperationInfo& info, Shared& shared) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < options.clients; ++i) {
    threads.emplace_back([&, i] { run_client(options, info, i, shared); });
  }
  for (std::thread& thread : threads) thread.join();
}

void run_processes(const Options& options, const OperationInfo& info, Shared& shared) {
  std::vector<pid_t> children;
  for (unsigned i = 0; i < options.clients; ++i) {
    const pid_t pid = ::fork();
    if (pid < 0) fail("fork", "");
    if (pid == 0) {
      run_client(options, info, i, shared);
      std::_Exit(0);
    }
    children.push_back(pid);
  }
  bool failed = false;
  for (std::size_t left = children.size(); left > 0; --left) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, 0);
    if (pid < 0) fail("waitpid", "");
    std::erase(children, pid);
    if (status == 0 || failed) continue;
    failed = true;  // the others would wait for it at the barrier
    for (const pid_t other : children) ::kill(other, SIGKILL);
  }
  if (failed) std::exit(1);
}

// us_mean and ops_per_second count everything, waiting for a CPU included. us_median is the median
// batch: what an operation costs when no other program got in between.
void print_result(const Options& options, const OperationInfo& info, const Shared& shared,
                  bool last) {
  std::uint64_t repetitions = 0;
  double total_us = 0;
  double medians_us = 0;
  double per_second = 0;
  for (unsigned i = 0; i < options.clients; ++i) {
    const auto& client = shared.clients[i];
    const double us = static_cast<double>(client.nanoseconds) / 1e3;
    repetitions += client.repetitions;
    total_us += us;
    medians_us += client.median / 1e3;
    if (us > 0) per_second += static_cast<double>(client.repetitions) / us * 1e6;
  }
  std::printf(
      "  {\"op\": \"%s\", \"clients\": %u, \"mode\": \"%s\", \"pinned\": %s, \"held\": %llu, "
      "\"repetitions\": %llu, \"us_median\": %.4f, \"us_mean\": %.4f, \"ops_per_second\": "
      "%.1f}%s\n",
      info.name.data(), options.clients, options.processes ? "processes" : "threads",
      options.pin ? "true" : "false", static_cast<unsigned long long>(options.hold),
      static_cast<unsigned long long>(repetitions), medians_us / options.clients,
      repetitions > 0 ? total_us / static_cast<double>(repetitions) : 0, per_second,
      last ? "" : ",");
  std::fflush(stdout);
}

int run(const Options& options) {
  std::vector<const OperationInfo*> chosen;
  for (const std::string& name : options.names) chosen.push_back(&find_operation(name));
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap", "");
  auto& shared = *static_cast<Shared*>(memory);
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);

  const HeldFiles held(options.dir, options.hold);
  std::puts("[");
  std::fflush(stdout);  // or each forked client would print it again
  for (const OperationInfo* info : chosen) {
    errno = pthread_barrier_init(&shared.start, &attributes, options.clients);
    if (errno != 0) fail("pthread_barrier_init", "");
    options.processes ? run_processes(options, *info, shared) : run_threads(options, *info, shared);
    pthread_barrier_destroy(&shared.start);
    print_result(options, *info, shared, info == chosen.back());
  }
  std::puts("]");
  return 0;
}

}  // namespace
}  // namespace passthroughfs::bench

int main(int argc, char** argv) {
  return passthroughfs::bench::run(
      passthroughfs::bench::parse(std::vector<std::string>(argv + 1, argv + argc)));
}
