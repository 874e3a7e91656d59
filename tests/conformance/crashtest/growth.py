# SPDX-License-Identifier: Apache-2.0
"""Whether something gathers from one death to the next: descriptors, slots, memory."""
import os
import time

# More than that, in the second half of a run.
KIB_ALLOWED, PART_ALLOWED = 2048, 8
ROOMS_ALLOWED = 8192  # KiB: a large request in the hands of some threads that one server has
DESCRIPTORS_ALLOWED = 100
FEWEST = 200  # deaths, or the load is still growing itself
REST_SECONDS = 15  # at most


def resident(pid):
    """KiB that are this process's own."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))
    except OSError:
        return 0


def shared(pid):
    """KiB of the memory that all processes of the mount share. Rooms are what requests are read
    into."""
    total, directory = {"rooms KiB": 0, "tables KiB": 0}, f"/proc/{pid}/fd"
    for entry in os.listdir(directory):
        try:
            name = os.readlink(f"{directory}/{entry}")
            if name.startswith("/memfd:passthroughfs"):
                key = "rooms KiB" if "-rooms" in name else "tables KiB"
                total[key] += os.stat(f"{directory}/{entry}").st_blocks // 2
        except OSError:
            pass
    return total


def limit(key, before):
    allowed = (ROOMS_ALLOWED if "rooms" in key else KIB_ALLOWED if "KiB" in key
               else DESCRIPTORS_ALLOWED)
    return before + allowed + before // PART_ALLOWED


class Growth:
    """The clients have a changing number of files open, so it is the least of a few looks from the
    middle on and at the end that are compared. A server gives back what its predecessors have left
    behind once it has lived for a second or two, so there is a rest before both. `pause(seconds)`
    is how to wait while somebody looks after the clients."""

    def __init__(self, site, deaths, pause):
        self.site, self.deaths, self.pause, self.seen = site, deaths, pause, []
        self.half = self.rested = 0

    def look(self, stats):
        pids = {"guardian": stats["guardian_pid"], "deputy": stats["deputy_pid"],
                "server": stats["server_pid"]}
        found = {"inodes": stats["inodes"], "handles": stats["handles"],
                 "descriptors": sum(self.site.descriptors().values()),
                 **shared(stats["guardian_pid"])}
        for name, pid in pids.items():
            found[f"{name} KiB"] = resident(pid)
        self.seen.append(found)

    def rest(self):
        """Half way, between two deaths."""
        if self.deaths < FEWEST:
            return
        self.half = len(self.seen)
        self.look(self.site.stats())
        self.wait_until(lambda: self.seen[-1]["rooms KiB"]
                        <= self.seen[0]["rooms KiB"] + KIB_ALLOWED)
        self.rested = len(self.seen)

    def wait_until(self, condition):
        """And looks. It is not wrong yet if it does not come true."""
        deadline = time.monotonic() + REST_SECONDS
        while not condition() and time.monotonic() < deadline:
            self.pause(0.2)
            self.look(self.site.stats())

    def judge(self):
        """Returns what is wrong."""
        if self.deaths < FEWEST:
            return []
        part = max(2, (len(self.seen) - (self.rested - self.half)) // 5)
        middle, late = self.seen[self.half:self.rested + part], len(self.seen) - part

        def least(key):
            return [min(found[key] for found in some) for some in (middle, self.seen[late:])]

        def growing():
            return [key for key in self.seen[0]
                    for first, last in [least(key)] if last > limit(key, first)]
        self.wait_until(lambda: not growing())
        for key in self.seen[0]:
            print(f"{key}: {self.seen[0][key]}, half way {least(key)[0]}, in the end "
                  f"{least(key)[1]}")
        return [f"{key} grow: {[found[key] for found in self.seen]}" for key in growing()]
