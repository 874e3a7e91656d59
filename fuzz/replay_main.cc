// SPDX-License-Identifier: Apache-2.0
// Stands in for libFuzzer's main() in ordinary builds: feeds every file below the given paths to
// the fuzzer's entry point once, so that each input that ever failed is a unit test for every
// compiler.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> inputs_below(const fs::path& top) {
  std::vector<fs::path> files;
  if (fs::is_regular_file(top)) {
    files.push_back(top);
  } else {
    for (const auto& entry : fs::recursive_directory_iterator(top)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());  // the same order on every file system
  return files;
}

void replay(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw fs::filesystem_error("open", file, std::make_error_code(std::errc::io_error));
  const std::vector<char> content((std::istreambuf_iterator<char>(stream)), {});
  // An exact heap copy, so that a read past the end is one past an allocation.
  const auto data = std::make_unique<uint8_t[]>(content.size());
  std::copy(content.begin(), content.end(), data.get());
  LLVMFuzzerTestOneInput(data.get(), content.size());
}

}  // namespace

int main(int argc, char** argv) {
  size_t count = 0;
  for (int i = 1; i < argc; ++i) {
    try {
      for (const fs::path& file : inputs_below(argv[i])) {
        // Named before it runs: when it crashes, the last line tells which one it was.
        std::fprintf(stderr, "%s\n", file.c_str());
        replay(file);
        ++count;
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      return 1;
    }
  }
  std::printf("%zu inputs replayed\n", count);
  // A corpus that has gone missing must not look like one that passed.
  return count == 0 ? 1 : 0;
}
