// SPDX-License-Identifier: Apache-2.0
//
// Any bytes on the control socket, in any pieces: what comes out as a request can be encoded and
// decoded again to the same, and every line is a request, a reply or an error. The first byte of
// the input is the size of the pieces.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "proto/framing.h"
#include "proto/messages.h"
#include "proto/text.h"
#include "require.h"

namespace {

using namespace passthroughfs;

void check_line(std::string_view line) {
  if (const auto request = decode_request(line)) {
    const auto again = decode_request(encode_request(*request));
    require(again.has_value());
    require(again->command == to_utf8(request->command));
    require(again->arguments.size() == request->arguments.size());
  }
  if (const auto result = decode_reply(line)) {
    try {
      for (const auto& file : result->get<std::vector<OpenFileInfo>>()) {
        require(Json(file).get<OpenFileInfo>().path == file.path);
      }
    } catch (const Json::exception&) {  // another shape
    }
    try {
      (void)result->get<OpenFilePage>();
    } catch (const Json::exception&) {
    }
    try {
      (void)result->get<Statistics>();
    } catch (const Json::exception&) {
    }
  }
  require(is_utf8(to_utf8(line)));
  require(is_utf8(escape_for_terminal(line)));
  require(decode_base64(encode_base64(line)) == line);
  if (const auto bytes = decode_base64(line)) require(encode_base64(*bytes).size() == line.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = std::size_t{data[0]} + 1;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  LineReader reader(4096);
  for (std::size_t at = 0; at < stream.size(); at += step) {
    reader.append(stream.substr(at, step));
    for (;;) {
      const auto line = reader.next();
      if (!line) {
        require(line.error() == EMSGSIZE);
        return 0;
      }
      if (!*line) break;
      require((*line)->size() <= 4096 && (*line)->find('\n') == std::string::npos);
      check_line(**line);
    }
  }
  return 0;
}
