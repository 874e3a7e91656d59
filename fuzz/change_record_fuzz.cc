// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a record of the change log: what is accepted can be written and read back the same.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "changes/record.h"
#include "require.h"

namespace {

using namespace passthroughfs;

// Writes what it is given; a second round has to give the same bytes.
class Copier final : public RecordVisitor {
 public:
  void names(const NamesRecord& record) override {
    require(record.count >= 1 && record.count <= record.bindings.size());
    for (std::size_t i = 0; i < record.count; ++i) {
      require(!record.bindings[i].name.empty());
      require(record.bindings[i].name.size() <= kMaxLoggedName);
    }
    size = encode(record, bytes);
  }
  void inode(const InodeRecord& record) override { size = encode(record, bytes); }
  void born(const BornRecord& record) override { size = encode(record, bytes); }

  std::array<std::byte, kMaxRecordBytes> bytes{};
  std::size_t size = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Copier first;
  if (!decode(ByteSpan(reinterpret_cast<const std::byte*>(data), size), first)) return 0;
  Copier second;
  require(decode(ByteSpan(first.bytes).first(first.size), second).has_value());
  require(first.size == second.size &&
          std::memcmp(first.bytes.data(), second.bytes.data(), first.size) == 0);
  return 0;
}
