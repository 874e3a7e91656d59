// SPDX-License-Identifier: Apache-2.0
//
// Mappings: stores and loads that no system call announces.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "exec.h"

namespace passthroughfs::difftest {
namespace {

constexpr std::size_t kPage = 4096;

sigjmp_buf bus_error_return;

void on_bus_error(int) { siglongjmp(bus_error_return, 1); }

// A store or load beyond the end of the file is a SIGBUS, on both sides.
class BusErrors {
 public:
  BusErrors() {
    struct sigaction action {};
    action.sa_handler = on_bus_error;
    action.sa_flags = SA_NODEFER;
    (void)sigaction(SIGBUS, &action, &before_bus_);
    (void)sigaction(SIGSEGV, &action, &before_segv_);  // a store to a read-only mapping
  }
  ~BusErrors() {
    (void)sigaction(SIGBUS, &before_bus_, nullptr);
    (void)sigaction(SIGSEGV, &before_segv_, nullptr);
  }
  BusErrors(const BusErrors&) = delete;
  BusErrors& operator=(const BusErrors&) = delete;

 private:
  struct sigaction before_bus_ {};
  struct sigaction before_segv_ {};
};

Mapping& mapping(Agent& agent, const Op& op) {
  return agent.maps[static_cast<std::size_t>(op.a) % kMapSlots];
}

// What of [offset, offset + length) lies in the mapping.
bool range_of(const Mapping& map, const Op& op, std::size_t& start, std::size_t& length) {
  if (map.address == nullptr) return false;
  start = std::min(static_cast<std::size_t>(std::max<std::int64_t>(op.c, 0)), map.length);
  length = std::min(static_cast<std::size_t>(std::max<std::int64_t>(op.b, 0)), map.length - start);
  return true;
}

Result bus_error() { return {.value = -1, .error = EFAULT, .detail = " signal"}; }

Result unmap(Agent& agent, Mapping& map) {
  Result result = outcome(munmap(map.address, map.length));
  if (SideBoard::Known* known = agent.board->find(map.ino)) --known->mappings;
  close(map.file);
  map = Mapping{};
  return result;
}

// How many of `length` bytes at `position` of the file may be stored. What is stored behind the end
// of the file, in its last page, may or may not be there when the file grows: that depends on when
// the page was last written back, natively too.
std::size_t storable(const Mapping& map, std::size_t position, std::size_t length) {
  struct stat st {};
  if (fstat(map.file, &st) != 0) return length;
  const auto end = static_cast<std::size_t>(st.st_size);
  if (position / kPage != end / kPage || position + length <= end) return length;
  return position < end ? end - position : 0;
}

// Stores that the daemon cannot bring to the source as they would be made there: see exceptions().
bool cannot_be_written_back(const Agent& agent, const Mapping& map) {
  if (!map.shared || agent.profile == Profile::kPassthrough) return false;
  if (agent.board->locked) return true;
  const SideBoard::Known* known = agent.board->find(map.ino);
  return known != nullptr && known->capable;
}

}  // namespace

Result exec_mmap(Agent& agent, const Op& op) {
  const auto length = static_cast<std::size_t>(std::max<std::int64_t>(op.b, 0));
  const int protection = static_cast<int>(op.d) & 0xff;
  const int flags = static_cast<int>(op.d) >> 8;
  if (agent.board->locked && flags == MAP_SHARED) return {.value = kNotMade};
  void* address = mmap(nullptr, length, protection, flags, agent.fd(op.fd), op.c);
  if (address == MAP_FAILED) return outcome(-1);
  Mapping& map = mapping(agent, op);
  Result result;
  if (map.address != nullptr) result = unmap(agent, map);
  map.address = static_cast<char*>(address);
  map.length = (length + kPage - 1) / kPage * kPage;
  map.offset = static_cast<std::size_t>(op.c);
  map.shared = flags == MAP_SHARED;
  const std::string link = "self/fd/" + std::to_string(agent.fd(op.fd));
  map.file = openat(agent.proc, link.c_str(), O_PATH | O_CLOEXEC);
  struct stat st {};
  (void)fstat(map.file, &st);
  map.ino = st.st_ino;
  if (SideBoard::Known* known = remember(agent, map.file)) {
    ++known->mappings;
    known->mapped = known->ever_mapped = true;
  }
  return result;
}

Result exec_store(Agent& agent, const Op& op) {
  Mapping& map = mapping(agent, op);
  std::size_t start = 0, length = 0;
  if (!range_of(map, op, start, length)) return {.value = kNotMade};
  if (cannot_be_written_back(agent, map)) return {.value = kNotMade};
  fill_pattern(agent.buffer, length, op.d);
  const BusErrors guard;
  if (sigsetjmp(bus_error_return, 1) != 0) return bus_error();
  // Page by page, upwards, so that what was stored before a SIGBUS is the same on both sides.
  std::size_t stored = 0;
  for (std::size_t done = 0; done < length;) {
    const std::size_t part = std::min(length - done, kPage - (start + done) % kPage);
    const std::size_t good = storable(map, map.offset + start + done, part);
    std::memcpy(map.address + start + done, agent.buffer + done, good);
    stored += good;
    done += part;
  }
  return {.value = static_cast<std::int64_t>(stored)};
}

Result exec_load(Agent& agent, const Op& op) {
  Mapping& map = mapping(agent, op);
  std::size_t start = 0, length = 0;
  if (!range_of(map, op, start, length)) return {.value = kNotMade};
  const BusErrors guard;
  if (sigsetjmp(bus_error_return, 1) != 0) return bus_error();
  char text[40];
  (void)std::snprintf(text, sizeof text, " data=%016llx",
                      static_cast<unsigned long long>(hash_bytes(map.address + start, length)));
  return {.value = static_cast<std::int64_t>(length), .detail = text};
}

Result exec_msync(Agent& agent, const Op& op) {
  const Mapping& map = mapping(agent, op);
  if (map.address == nullptr) return {.value = kNotMade};
  return outcome(msync(map.address, map.length, static_cast<int>(op.b)));
}

Result exec_munmap(Agent& agent, const Op& op) {
  Mapping& map = mapping(agent, op);
  if (map.address == nullptr) return {.value = kNotMade};
  return unmap(agent, map);
}

}  // namespace passthroughfs::difftest
