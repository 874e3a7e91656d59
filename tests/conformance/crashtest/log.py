# SPDX-License-Identifier: Apache-2.0
"""The file that all clients append to: each record must be there once, in its writer's order."""
import hashlib
import os


def record(client, number, size):
    head = f"client {client} record {number} "
    filler = hashlib.sha256(head.encode()).hexdigest() * (size // 64 + 1)
    return (head + filler[:size] + "\n").encode()


class Log:
    def __init__(self, path):
        self.path, self.fd, self.number, self.sizes = path, None, 0, []


def append(c):
    log = c.log
    if log.fd is None:
        flags = os.O_APPEND | os.O_CREAT | c.random.choice([os.O_WRONLY, os.O_WRONLY, os.O_RDWR])
        log.fd = c.call(f"open the log flags {flags:o}", 0, os.open, log.path, flags, 0o644)
    size = c.random.choice([5, 60, 700, 3000])
    data = record(c.number, log.number, size)
    count = c.call(f"append record {log.number} to the log", 0, os.write, log.fd, data)
    c.same("count appended", count, len(data))
    log.sizes.append(size)
    log.number += 1
    if c.random.random() < 0.1:
        let_go(c)


def let_go(c):
    if c.log.fd is not None:
        c.call("close the log", 0, os.close, c.log.fd)
        c.log.fd = None


def judge(data, written):
    """written: {client: sizes of its records}. Returns what is wrong."""
    wrong = []
    following = dict.fromkeys(written, 0)
    *lines, rest = data.split(b"\n")
    if rest:
        wrong.append(f"log: ends amid a record: {rest[:60]!r}")
    for line in lines:
        words = line.split(b" ", 4)
        try:
            client, number = int(words[1]), int(words[3])
            whole = record(client, number, written[client][number])
        except (IndexError, ValueError, KeyError):
            wrong.append(f"log: nobody wrote {line[:60]!r}")
            continue
        if whole != line + b"\n":
            wrong.append(f"log: record {number} of client {client} is damaged")
        if number != following[client]:
            wrong.append(f"log: record {number} of client {client} instead of {following[client]}")
        following[client] = number + 1
    for client, sizes in written.items():
        if following[client] != len(sizes):
            wrong.append(f"log: client {client} wrote {len(sizes)} records, the last one there is "
                         f"{following[client] - 1}")
    return wrong


WORK = {append: 6}
