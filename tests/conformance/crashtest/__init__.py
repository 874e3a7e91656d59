# SPDX-License-Identifier: Apache-2.0
"""Whether clients notice nothing when the serving process dies.

Several client processes do random work through a mount with `recover=on`, each on names of its
own, and each knows from an exact model what every single call must give. Meanwhile the serving
process is killed again and again, and its guardian, and other programs take over. A call with
another result than the model's has lost or repeated something. In the end the whole tree, seen
through the mount and on the source, must be what the models say, and nothing may be left: no
handle, no descriptor, no process.

    kernel    system calls that Python lacks
    account   one client's calls and whether their results are as wanted
    model     what should be there
    client    a client process; its work is in names, files, streams, locks and log
    names     the calls that change names and attributes
    files     open files and mappings
    streams   directories that are listed a bit at a time
    locks     locks against a second process
    log       the file that all append to
    probe     how long clients wait
    judge     the models against what is there
    mount     the program under test
    processes child processes and how they report
    faults    deaths at named points, one operation after another
    deaths    deaths and upgrades at random moments
    growth    whether something gathers over them
    load      a run of random work
    selftest  mistakes that the models must notice
    main      options
"""
