# SPDX-License-Identifier: Apache-2.0
"""Whether a mount shows what is changed behind it, although the kernel believes names, absence and
attributes for ever (`cache=coherent`).

Processes change one tree on the source and through the mount at the same time, others look at all
of it through the mount, so that the kernel knows all that there is and is not. Then all stop, and
the mount must show what the source has, within a few seconds: every name, every absence, every
attribute, content, and every file that is still open.

    tree      the names, and the tree that a round begins with
    worker    a process that makes calls, and the results that no call may have
    changes   the calls that change something
    readers   those that look, and those that keep files open
    judge     the mount against the source
    watched   whether this kernel and this user can watch a file system at all
    load      one round
    main      options

Mounts and processes are those of crashtest.
"""
