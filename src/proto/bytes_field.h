// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "proto/messages.h"

namespace passthroughfs {

// Names in messages may be of any bytes: what is not Unicode is shown as replaced in the field, and
// whole in the field NAME_base64.
void put_bytes(Json& json, const std::string& name, const std::string& bytes);
// Throws nlohmann::json::exception on a wrong shape.
void get_bytes(const Json& json, const std::string& name, std::string& bytes);

}  // namespace passthroughfs
