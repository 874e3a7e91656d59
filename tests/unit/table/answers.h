// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "wire/reply.h"

namespace passthroughfs::test {

// Takes answers, and keeps the last errno for each request.
class Answers final : public wire::ReplySink {
 public:
  Result<void> send(std::uint64_t unique, int error, std::span<const ByteSpan>) override {
    errors[unique] = error;
    return ok();
  }
  std::map<std::uint64_t, int> errors;
};

}  // namespace passthroughfs::test
