// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as what another program has handed over. What is understood is written again and read
// as the same.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "base/handover.h"
#include "require.h"
#include "session/continuation.h"

using namespace passthroughfs;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const UniqueFd file(::memfd_create("fuzz", MFD_CLOEXEC));
  require(file.valid() && ::write(file.get(), data, size) == static_cast<ssize_t>(size));
  const auto read = Handover::read(file.borrow());
  if (!read) return 0;
  const auto written = read->write();
  require(written.has_value());
  const auto again = Handover::read(written->borrow());
  require(again.has_value() && again->descriptors() == read->descriptors());
  for (const char* name : {"a", "init_reply", "layout"}) {
    require(again->text(name) == read->text(name) && again->number(name) == read->number(name));
  }
  const auto settled = get_negotiated(*read);
  require(settled.has_value() == get_negotiated(*again).has_value());
  return 0;
}
