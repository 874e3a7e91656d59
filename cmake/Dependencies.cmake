# SPDX-License-Identifier: Apache-2.0
# Everything comes from the distribution; nothing is downloaded. `./dev setup` installs it.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
if(PASSTHROUGHFS_BUILD_TESTS)
  find_package(GTest REQUIRED)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
endif()
if(PASSTHROUGHFS_BUILD_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()
