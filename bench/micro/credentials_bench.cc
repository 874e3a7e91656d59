// SPDX-License-Identifier: Apache-2.0
//
// What acting as the caller costs a request. Needs root.
#include <benchmark/benchmark.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "source/credentials.h"

namespace passthroughfs {
namespace {

constexpr uid_t kUser = 50001;

Caller user() {
  Caller caller;
  caller.uid = kUser;
  caller.gid = kUser;
  return caller;
}

Result<void> nothing() { return ok(); }

bool prepare(benchmark::State& state) {
  if (enable_impersonation()) return true;
  state.SkipWithError("needs root");
  return false;
}

void SystemCall(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(::syscall(SYS_getppid));
}
BENCHMARK(SystemCall);

void AsRoot(benchmark::State& state) {
  if (!prepare(state)) return;
  for (auto _ : state) benchmark::DoNotOptimize(as_caller(Caller(), nothing));
}
BENCHMARK(AsRoot);

void AsUser(benchmark::State& state) {
  if (!prepare(state)) return;
  const Caller caller = user();
  for (auto _ : state) benchmark::DoNotOptimize(as_caller(caller, nothing));
}
BENCHMARK(AsUser)->Threads(1)->Threads(2)->UseRealTime();

void AsUserWithAGroup(benchmark::State& state) {
  if (!prepare(state)) return;
  Caller caller = user();
  const std::array<std::uint32_t, 1> groups{50100};
  caller.groups = groups;
  for (auto _ : state) benchmark::DoNotOptimize(as_caller(caller, nothing));
}
BENCHMARK(AsUserWithAGroup);

void AsUserWithACapability(benchmark::State& state) {
  if (!prepare(state)) return;
  const Caller caller = user();
  for (auto _ : state) benchmark::DoNotOptimize(as_caller(caller, nothing, kCapDacReadSearch));
}
BENCHMARK(AsUserWithACapability);

void ReadRightsOfACaller(benchmark::State& state) {
  const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
  for (auto _ : state) benchmark::DoNotOptimize(CallerRights::read(self));
}
BENCHMARK(ReadRightsOfACaller);

}  // namespace
}  // namespace passthroughfs

BENCHMARK_MAIN();
