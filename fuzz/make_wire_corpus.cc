// SPDX-License-Identifier: Apache-2.0
//
// make_wire_corpus DIRECTORY: writes the seeds of request_fuzz and dirent_fuzz to DIRECTORY/request
// and DIRECTORY/dirent. They are committed; run it again when a request is added.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/request_bytes.h"

namespace {

using namespace passthroughfs;
namespace fs = std::filesystem;

void write_file(const fs::path& path, ByteSpan bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.exceptions(std::ios::failbit | std::ios::badbit);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

void write_request(const fs::path& directory, const std::string& name, std::uint8_t options,
                   const test::RequestBytes& request) {
  const test::Bytes message = request.encode(2);
  write_file(directory / name, ByteSpan(test::join(options, ByteSpan(message))));
}

void write_requests(const fs::path& directory) {
  constexpr std::uint8_t correct_length = 1;
  constexpr std::uint8_t setxattr_ext = 2;
  for (const test::Sample& sample : test::sample_of_each_request()) {
    write_request(directory, std::string(sample.name), correct_length | setxattr_ext,
                  sample.request);
  }
  write_request(directory, "setxattr_compat", correct_length,
                test::requests::setxattr_compat(2, "user.name", bytes_of(std::string_view("v"))));
  write_request(directory, "getattr_handle", correct_length, test::requests::getattr(2, 9));
  write_request(directory, "lookup_dotdot", correct_length, test::requests::lookup(2, ".."));
  write_request(directory, "wrong_length", 0, test::requests::lookup(2, "name"));
}

void write_dirents(const fs::path& directory) {
  const auto entry = [](std::uint8_t plus, std::string_view name) {
    return test::join(plus, static_cast<std::uint8_t>(name.size()), bytes_of(name));
  };
  const auto seed = [](std::uint16_t size, const test::Bytes& first, const test::Bytes& second) {
    return test::join(size, ByteSpan(first), ByteSpan(second));
  };
  write_file(directory / "plain", ByteSpan(seed(4096, entry(0, "."), entry(0, "file"))));
  write_file(directory / "plus", ByteSpan(seed(4096, entry(1, "12345678"), entry(1, "x"))));
  write_file(directory / "one_fits", ByteSpan(seed(40, entry(0, "file"), entry(0, "other"))));
  write_file(directory / "none_fits", ByteSpan(seed(0, entry(1, "file"), entry(0, ""))));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_wire_corpus DIRECTORY\n");
    return 2;
  }
  try {
    write_requests(fs::path(argv[1]) / "request");
    write_dirents(fs::path(argv[1]) / "dirent");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
