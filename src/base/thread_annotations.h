// SPDX-License-Identifier: Apache-2.0
#pragma once

// Clang's thread-safety attributes (checked with -Wthread-safety); nothing under gcc.
#if defined(__clang__)
#define PFS_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define PFS_THREAD_ATTRIBUTE(x)
#endif

#define PFS_CAPABILITY(x) PFS_THREAD_ATTRIBUTE(capability(x))
#define PFS_SCOPED_CAPABILITY PFS_THREAD_ATTRIBUTE(scoped_lockable)
#define PFS_GUARDED_BY(x) PFS_THREAD_ATTRIBUTE(guarded_by(x))
#define PFS_REQUIRES(...) PFS_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define PFS_ACQUIRE(...) PFS_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define PFS_TRY_ACQUIRE(...) PFS_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define PFS_RELEASE(...) PFS_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define PFS_EXCLUDES(...) PFS_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define PFS_NO_THREAD_SAFETY_ANALYSIS PFS_THREAD_ATTRIBUTE(no_thread_safety_analysis)
