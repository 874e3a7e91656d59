// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace passthroughfs {

// CPUs in the kernel's notation, "0-3,8": ascending numbers. EINVAL: anything else, or numbers over
// 65535.
[[nodiscard]] Result<std::vector<int>> parse_cpu_list(std::string_view text);

// /sys/devices/system/cpu/NAME: "possible", "online". Errors of opening and reading, EINVAL.
[[nodiscard]] Result<std::vector<int>> system_cpus(std::string_view name);

// The CPUs that the calling thread may run on, in order; empty if the kernel does not tell.
[[nodiscard]] std::vector<int> usable_cpus();

// Lets a thread of this process (0: the calling one) run on these CPUs only. False: it runs where
// it did; a container may not let us, or none of them is there.
bool bind_to(pid_t tid, std::span<const int> cpus) noexcept;

}  // namespace passthroughfs
