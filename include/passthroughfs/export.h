// SPDX-License-Identifier: Apache-2.0
#pragma once

// Marks what leaves libpassthroughfs; all else in it is hidden.
#define PASSTHROUGHFS_EXPORT __attribute__((visibility("default")))
