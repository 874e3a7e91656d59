// SPDX-License-Identifier: Apache-2.0
#include "table/region.h"

#include <sys/mman.h>

namespace passthroughfs {

Result<Region> Region::create(const char* name, std::size_t bytes) noexcept {
  UniqueFd memory = TRY(own(::memfd_create(name, MFD_CLOEXEC)));
  TRY(check(::ftruncate(memory.get(), static_cast<off_t>(bytes))));
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      memory.get(), 0);
  if (data == MAP_FAILED) return Errno::last();
  return Region(std::move(memory), static_cast<std::byte*>(data), bytes);
}

Region::Region(Region&& other) noexcept
    : memory_(std::move(other.memory_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Region::~Region() {
  if (data_ != nullptr) (void)::munmap(data_, size_);
}

}  // namespace passthroughfs
