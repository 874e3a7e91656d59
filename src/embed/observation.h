// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "changes/change_queries.h"

namespace passthroughfs {

// Tells one observer what changes, on a thread of its own.
class Observation {
 public:
  using Observer = std::function<void(const Change&)>;

  // `changes` must outlive this.
  Observation(ChangeQueries& changes, Observer observer);
  // After ChangeQueries::interrupt(): waits for a call that is under way.
  ~Observation();
  Observation(const Observation&) = delete;
  Observation& operator=(const Observation&) = delete;

 private:
  void run();
  void tell(const ChangeReport& report);

  ChangeQueries& changes_;
  const Observer observer_;
  bool has_thrown_ = false;
  std::thread thread_;
};

}  // namespace passthroughfs
