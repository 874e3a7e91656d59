// SPDX-License-Identifier: Apache-2.0
#include "base/region.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace passthroughfs {
namespace {

// Beyond RLIMIT_FSIZE ftruncate also raises SIGXFSZ on this thread, whose default ends the process.
Result<void> set_size(BorrowedFd memory, std::size_t bytes) noexcept {
  sigset_t too_large;
  sigset_t before;
  sigemptyset(&too_large);
  sigaddset(&too_large, SIGXFSZ);
  (void)pthread_sigmask(SIG_BLOCK, &too_large, &before);
  const Result<void> done = check_void(::ftruncate(memory.get(), static_cast<off_t>(bytes)));
  if (!done && sigismember(&before, SIGXFSZ) == 0) {
    const timespec at_once{};
    (void)sigtimedwait(&too_large, nullptr, &at_once);
  }
  (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return done;
}

}  // namespace

Result<Region> Region::create(const char* name, std::size_t bytes) noexcept {
  UniqueFd memory = TRY(own(::memfd_create(name, MFD_CLOEXEC)));
  TRY(set_size(memory.borrow(), bytes));
  return map(std::move(memory), bytes, true);
}

Result<Region> Region::adopt(UniqueFd memory, std::size_t bytes) noexcept {
  struct stat st {};
  if (::fstat(memory.get(), &st) != 0) return Errno::last();
  if (!S_ISREG(st.st_mode) || static_cast<std::size_t>(st.st_size) != bytes) return Err(EUCLEAN);
  return map(std::move(memory), bytes, false);
}

Result<Region> Region::map(UniqueFd memory, std::size_t bytes, bool fresh) noexcept {
  void* data =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory.get(), 0);
  if (data == MAP_FAILED) return Errno::last();
  return Region(std::move(memory), static_cast<std::byte*>(data), bytes, fresh);
}

Region::Region(Region&& other) noexcept
    : memory_(std::move(other.memory_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      fresh_(other.fresh_) {}

void Region::clear() noexcept {
  // Frees the pages as well; where that cannot be they are written.
  if (::madvise(data_, size_, MADV_REMOVE) != 0) std::memset(data_, 0, size_);
}

Region::~Region() {
  if (data_ != nullptr) (void)::munmap(data_, size_);
}

}  // namespace passthroughfs
