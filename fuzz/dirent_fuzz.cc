// SPDX-License-Identifier: Apache-2.0
//
// Any entries into any buffer: what was accepted can be read back, and nothing is written outside.
// The first two bytes of the input are the buffer's size; then each entry is one byte (bit 0: with
// attributes), one byte for the length of its name, and the name.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "require.h"
#include "wire/dirent.h"

namespace {

using namespace passthroughfs;

struct Entry {
  bool plus;
  std::string name;
};

void require_same(ByteSpan written, const std::vector<Entry>& entries) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::size_t prefix = entries[i].plus ? sizeof(wire::EntryOut) : 0;
    wire::Dirent dirent{};
    require(written.size() >= prefix + sizeof dirent);
    std::memcpy(&dirent, written.data() + prefix, sizeof dirent);
    const std::size_t name_at = prefix + sizeof dirent;
    const std::size_t whole = align_up(name_at + dirent.namelen, 8);
    require(written.size() >= whole);
    require(dirent.ino == i && dirent.off == i + 1);
    require(text_of(written.subspan(name_at, dirent.namelen)) == entries[i].name);
    written = written.subspan(whole);
  }
  require(written.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::size_t buffer_size = data[0] | static_cast<std::size_t>(data[1]) << 8;
  const auto buffer = std::make_unique<std::byte[]>(buffer_size);
  wire::DirentWriter writer(MutableByteSpan(buffer.get(), buffer_size));
  std::vector<Entry> entries;
  for (std::size_t at = 2; at + 2 <= size;) {
    const bool plus = (data[at] & 1) != 0;
    const std::size_t length = std::min<std::size_t>(data[at + 1], size - at - 2);
    const std::string name(reinterpret_cast<const char*>(data) + at + 2, length);
    at += 2 + length;
    const bool fits = writer.fits(length, plus);
    const std::size_t before = writer.written().size();
    const std::uint64_t number = entries.size();
    const bool added = plus ? writer.add_plus({}, number, number + 1, 0, name)
                            : writer.add(number, number + 1, 0, name);
    require(added == fits);
    if (added) {
      entries.push_back({plus, name});
    } else {
      require(writer.written().size() == before);
    }
  }
  require_same(writer.written(), entries);
  return 0;
}
