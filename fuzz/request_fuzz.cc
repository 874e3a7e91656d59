// SPDX-License-Identifier: Apache-2.0
//
// Bytes from the kernel: parsing, every decoder, the extensions and the dump. The first byte of the
// input chooses the options, the rest is the message; bit 0 has its length field corrected, so that
// mutations get past the first check.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "require.h"
#include "support/decode_any.h"
#include "wire/dump.h"
#include "wire/requests.h"

namespace {

using namespace passthroughfs;

// A view that was handed out lies inside the message, and may be read.
void require_inside(ByteSpan view, ByteSpan message) {
  if (view.empty()) return;
  require(view.data() >= message.data() &&
          view.data() + view.size() <= message.data() + message.size());
}

void require_component(std::string_view name) {
  require(!name.empty() && name.size() <= 255 && name != "." && name != "..");
  require(name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos);
}

void check_views(const wire::Request& request, const wire::DecodeOptions& options,
                 ByteSpan message) {
  using namespace wire;
  switch (request.opcode()) {
    case Opcode::write:
      if (const auto in = decode<WriteRequest>(request, options)) require_inside(in->data, message);
      break;
    case Opcode::ioctl:
      if (const auto in = decode<IoctlRequest>(request, options)) require_inside(in->in, message);
      break;
    case Opcode::setxattr:
      if (const auto in = decode<SetxattrRequest>(request, options)) {
        require_inside(in->value, message);
      }
      break;
    case Opcode::batch_forget:
      if (const auto in = decode<BatchForgetRequest>(request, options)) {
        require_inside(std::as_bytes(in->forgets), message);
      }
      break;
    case Opcode::create:
      if (const auto in = decode<CreateRequest>(request, options)) require_component(in->name);
      break;
    case Opcode::rename:
    case Opcode::rename2:
      if (const auto in = decode<RenameRequest>(request, options)) {
        require_component(in->old_name);
        require_component(in->new_name);
      }
      break;
    default: break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bool correct_length = (data[0] & 1) != 0;
  const wire::DecodeOptions options{.setxattr_ext = (data[0] & 2) != 0};
  // Of its own: aligned as in a queue, and its end is the end of an allocation.
  const std::size_t length = size - 1;
  const auto bytes = std::make_unique<std::byte[]>(length);
  std::memcpy(bytes.get(), data + 1, length);
  if (correct_length && length >= sizeof(std::uint32_t)) {
    const auto field = static_cast<std::uint32_t>(length);
    std::memcpy(bytes.get(), &field, sizeof field);
  }
  const ByteSpan message(bytes.get(), length);

  const Result<wire::Request> request = wire::parse_request(message);
  if (!request) return 0;
  require_inside(request->body, message);
  require_inside(request->extensions, message);
  (void)test::decode_any(*request, options);
  check_views(*request, options, message);
  if (const auto groups = wire::decode_supplementary_groups(*request)) {
    for (std::size_t i = 0; i < groups->size(); ++i) (void)(*groups)[i];
  }
  const std::string line = wire::dump(*request, options);
  require(std::all_of(line.begin(), line.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
  return 0;
}
