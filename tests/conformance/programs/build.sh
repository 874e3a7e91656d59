#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A C++ project on the mount: it builds, has nothing to do the second time, and sees what changed.
. "$(dirname "$0")/lib.sh"
need cmake ninja c++
project=$MNT/project
mkdir "$project"
cat > "$project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.16)
project(sample CXX)
add_library(parts STATIC p1.cc p2.cc p3.cc p4.cc)
add_executable(sample main.cc)
target_link_libraries(sample parts)
CMAKE
echo 'int p1(); int p2(); int p3(); int p4();' > "$project/parts.h"
for i in 1 2 3 4; do
  printf '#include "parts.h"\n#include <string>\nint p%d() { return std::stoi(std::string("%d")); }\n' $i $i \
    > "$project/p$i.cc"
done
printf '#include "parts.h"\nint main() { return p1() + p2() + p3() + p4() == 10 ? 0 : 1; }\n' \
  > "$project/main.cc"
export CCACHE_DISABLE=1
cmake -S "$project" -B "$project/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug > "$WORK/cmake.log" ||
  { cat "$WORK/cmake.log"; fail "cmake"; }
build() { ninja -C "$project/build" -j2; }
expect_idle() { build | grep -q 'no work to do' || fail "ninja finds work to do where there is none"; }
build > "$WORK/build.log" || { cat "$WORK/build.log"; fail "the build"; }
expect_idle
"$project/build/sample" || fail "the program built on the mount"
sed -i 's/return std::stoi/return 0 + std::stoi/' "$project/p2.cc"
count=$(build | grep -oE '^.*\[[0-9]+/[0-9]+\]' | tail -n 1 | grep -oE '[0-9]+\]$' | tr -d ']')
[ "$count" = 3 ] || fail "ninja runs $count steps for one changed file, not 3"
"$project/build/sample"
expect_idle
touch "$project/parts.h"
build > /dev/null
expect_idle
ninja -C "$project/build" clean > /dev/null
build > /dev/null
expect_idle
