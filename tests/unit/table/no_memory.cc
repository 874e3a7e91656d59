// SPDX-License-Identifier: Apache-2.0
#include "no_memory.h"

#include <cstdlib>
#include <new>

namespace {

thread_local bool t_none = false;

}  // namespace

namespace passthroughfs::test {

NoMemory::NoMemory() { t_none = true; }
NoMemory::~NoMemory() { t_none = false; }

}  // namespace passthroughfs::test

void* operator new(std::size_t size) {
  if (void* memory = t_none ? nullptr : std::malloc(size); memory != nullptr) return memory;
  throw std::bad_alloc();
}
// Of its own: not every library makes it of the one above.
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return t_none ? nullptr : std::malloc(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept { std::free(memory); }
