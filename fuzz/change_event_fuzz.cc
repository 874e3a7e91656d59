// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as what fanotify tells: it comes to an end, and nothing is taken from beyond it.
#include <cstddef>
#include <cstdint>

#include "require.h"
#include "source/change_events.h"

using namespace passthroughfs;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteSpan all(reinterpret_cast<const std::byte*>(data), size);
  ByteSpan rest = all;
  for (std::size_t left = size;;) {
    const auto event = next_change(rest);
    if (!event) break;
    require(rest.size() < left);
    left = rest.size();
    if (event->lost) {
      require(rest.empty() && !event->names && !event->object);
      continue;
    }
    for (const auto* handle : {&event->object, &event->directory}) {
      if (*handle) require((*handle)->bytes > 0 && (*handle)->bytes <= FileHandle::kMaxBytes);
    }
    require(!event->names || (event->directory && !event->name.empty()));
    if (event->name.empty()) continue;
    const auto* const begin = reinterpret_cast<const char*>(all.data());
    require(event->name.data() >= begin);
    require(event->name.data() + event->name.size() < begin + size);
    require(event->name.data()[event->name.size()] == '\0');
  }
  require(rest.empty());
  return 0;
}
