// SPDX-License-Identifier: Apache-2.0
//
// The inode and handle tables without a kernel: what a request pays for finding its inode and its
// handle, and what a known inode costs in memory.
//
//   table_bench                                  all
//   table_bench --benchmark_filter=Memory        bytes per known inode
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "source/source_tree.h"
#include "source/sys.h"
#include "table/fd_budget.h"
#include "table/handle_table.h"
#include "table/inode_table.h"

namespace passthroughfs {
namespace {

constexpr std::uint64_t kKnown = 1000;

void require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::exit(1);
}

// Tables over a directory with one file. That one stands for all: the tables believe the numbers
// they are told, and each inode has a descriptor of its own.
class Tables {
 public:
  Tables(std::uint64_t descriptor_limit, std::uint64_t known) : budget_(descriptor_limit) {
    rlimit limit{};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);

    require(::mkdtemp(directory_.data()) != nullptr, "mkdtemp");
    std::string message;
    auto source = SourceTree::open(directory_, message);
    require(source.has_value(), message.c_str());
    source_ = std::make_unique<SourceTree>(std::move(*source));
    file_ = UniqueFd(::open(file().c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    path_ = UniqueFd(::open(file().c_str(), O_PATH | O_CLOEXEC));
    require(path_.valid(), file().c_str());
    inodes_ = std::move(InodeTable::create(*source_, budget_, 1U << 24).value());
    handles_ = std::move(HandleTable::create(*inodes_, 1U << 20).value());
    for (std::uint64_t ino = 1; ino <= known; ++ino) nodes_.push_back(look_up(ino).id());
  }
  ~Tables() {
    (void)::unlink(file().c_str());
    (void)::rmdir(directory_.c_str());
  }
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  InodeRef look_up(std::uint64_t ino) {
    auto inode = inodes_->lookup(std::move(*duplicate(path_.borrow())), {7, ino}, S_IFREG);
    require(inode.has_value(), "lookup");
    return std::move(*inode);
  }
  std::uint64_t open(NodeId node) {
    auto inode = inodes_->get(node);
    HandleTable::Opened opened;
    opened.fd = std::move(*duplicate(file_.borrow()));
    return *handles_->add(*inode, std::move(opened));
  }

  InodeTable& inodes() { return *inodes_; }
  HandleTable& handles() { return *handles_; }
  [[nodiscard]] NodeId node(std::uint64_t at) const { return nodes_[at % nodes_.size()]; }
  [[nodiscard]] BorrowedFd path() const { return path_.borrow(); }

 private:
  [[nodiscard]] std::string file() const { return directory_ + "/file"; }

  std::string directory_ = "/tmp/table_bench.XXXXXX";
  FdBudget budget_;
  std::unique_ptr<SourceTree> source_;
  UniqueFd file_;
  UniqueFd path_;
  std::unique_ptr<InodeTable> inodes_;
  std::unique_ptr<HandleTable> handles_;
  std::vector<NodeId> nodes_;
};

Tables& shared() {
  static Tables tables(1'000'000, kKnown);
  return tables;
}

// Far apart for each thread, and not in the order of the slots.
std::uint64_t first_of(const benchmark::State& state) {
  return static_cast<std::uint64_t>(state.thread_index()) * 131;
}

// GETATTR, READ, WRITE and so on: the inode of a node number.
void InodeGet(benchmark::State& state) {
  Tables& tables = shared();
  std::uint64_t at = first_of(state);
  for (auto _ : state) {
    auto inode = tables.inodes().get(tables.node(at += 7));
    benchmark::DoNotOptimize(inode->fd().get());
  }
}
BENCHMARK(InodeGet)->Threads(1)->Threads(2)->Threads(8)->UseRealTime();

// All threads want the same inode, as the parent of a busy directory.
void InodeGetOfOne(benchmark::State& state) {
  Tables& tables = shared();
  for (auto _ : state) {
    auto inode = tables.inodes().get(tables.node(0));
    benchmark::DoNotOptimize(inode->fd().get());
  }
}
BENCHMARK(InodeGetOfOne)->Threads(1)->Threads(2)->Threads(8)->UseRealTime();

void HandleGet(benchmark::State& state) {
  Tables& tables = shared();
  const NodeId node = tables.node(first_of(state));
  const std::uint64_t fh = tables.open(node);
  for (auto _ : state) {
    auto handle = tables.handles().get(fh, node);
    benchmark::DoNotOptimize(handle->fd().get());
  }
  (void)tables.handles().release(fh, node);
}
BENCHMARK(HandleGet)->Threads(1)->Threads(2)->Threads(8)->UseRealTime();

// LOOKUP of what is known already. The descriptor that comes with it is closed again; that and its
// making are the system calls below.
void LookupKnown(benchmark::State& state) {
  Tables& tables = shared();
  std::uint64_t at = first_of(state);
  for (auto _ : state) {
    const InodeRef inode = tables.look_up(1 + (at += 7) % kKnown);
    benchmark::DoNotOptimize(inode.id());
  }
}
BENCHMARK(LookupKnown)->Threads(1)->Threads(2)->Threads(8)->UseRealTime();

void LookupNewAndForget(benchmark::State& state) {
  Tables& tables = shared();
  const std::uint64_t first = (first_of(state) + 1) << 32;
  std::uint64_t at = 0;
  for (auto _ : state) {
    const NodeId node = tables.look_up(first + ++at % 64).id();
    (void)tables.inodes().forget(node, 1);
  }
}
BENCHMARK(LookupNewAndForget)->Threads(1)->Threads(2)->Threads(8)->UseRealTime();

// The part of the two above that is no table's: a descriptor made and closed.
void DuplicateAndClose(benchmark::State& state) {
  Tables& tables = shared();
  for (auto _ : state) {
    auto copy = duplicate(tables.path());
    benchmark::DoNotOptimize(copy->get());
  }
}
BENCHMARK(DuplicateAndClose)->Threads(1)->Threads(2)->Threads(8)->UseRealTime();

// OPEN and RELEASE without a descriptor of the handle's own, as in kernel passthrough.
void HandleAddAndRelease(benchmark::State& state) {
  Tables& tables = shared();
  const NodeId node = tables.node(first_of(state));
  for (auto _ : state) {
    auto inode = tables.inodes().get(node);
    auto fh = tables.handles().add(*inode, HandleTable::Opened());
    (void)tables.handles().release(*fh, node);
  }
}
BENCHMARK(HandleAddAndRelease)->Threads(1)->Threads(2)->Threads(8)->UseRealTime();

std::uint64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word != "VmRSS:") continue;
    std::uint64_t kib = 0;
    status >> kib;
    return kib * 1024;
  }
  return 0;
}

// What the daemon's memory grows by for each inode that the kernel knows, with 4096 descriptors for
// all of them. RSS counts the shared regions too. Needs root, or as many descriptors as inodes.
void MemoryPerKnownInode(benchmark::State& state) {
  const auto known = static_cast<std::uint64_t>(state.range(0));
  const bool evicts = ::geteuid() == 0;
  double resident = 0;
  double counted = 0;
  for (auto _ : state) {
    Tables tables(evicts ? 4096 : known * 2, 0);
    const std::uint64_t before = resident_bytes();
    const std::size_t table_before = tables.inodes().memory_bytes();
    for (std::uint64_t ino = 1; ino <= known; ++ino) benchmark::DoNotOptimize(tables.look_up(ino));
    resident = static_cast<double>(resident_bytes() - before);
    counted = static_cast<double>(tables.inodes().memory_bytes() - table_before);
  }
  state.counters["bytes_per_inode"] = resident / static_cast<double>(known);
  state.counters["of_the_table"] = counted / static_cast<double>(known);
}
BENCHMARK(MemoryPerKnownInode)
    ->Arg(300'000)
    ->Arg(1'000'000)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

// With far fewer descriptors than inodes, each lookup gives one up.
void LookupNewOverBudget(benchmark::State& state) {
  Tables tables(4096, 100'000);
  std::uint64_t ino = 1'000'000;
  for (auto _ : state) benchmark::DoNotOptimize(tables.look_up(++ino));
}
BENCHMARK(LookupNewOverBudget);

}  // namespace
}  // namespace passthroughfs

BENCHMARK_MAIN();
