# SPDX-License-Identifier: Apache-2.0
"""Whether something gathers from one death to the next: descriptors, slots, memory."""
import os

# More than that, in the second half of a run.
KIB_ALLOWED, PART_ALLOWED = 2048, 8
DESCRIPTORS_ALLOWED = 100
FEWEST = 200  # deaths, or the load is still growing itself


def resident(pid):
    """KiB that are this process's own."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))
    except OSError:
        return 0


def tables(pid):
    """KiB of the memory that all processes of the mount share."""
    total, directory = 0, f"/proc/{pid}/fd"
    for entry in os.listdir(directory):
        try:
            if os.readlink(f"{directory}/{entry}").startswith("/memfd:passthroughfs"):
                total += os.stat(f"{directory}/{entry}").st_blocks // 2
        except OSError:
            pass
    return total


class Growth:
    """The clients have a changing number of files open, so it is the least of a few looks from the
    middle on and at the end that are compared."""

    def __init__(self, site):
        self.site, self.seen = site, []

    def look(self, stats):
        pids = {"guardian": stats["guardian_pid"], "deputy": stats["deputy_pid"],
                "server": stats["server_pid"]}
        found = {"inodes": stats["inodes"], "handles": stats["handles"],
                 "descriptors": sum(self.site.descriptors().values()),
                 "tables KiB": tables(stats["guardian_pid"])}
        for name, pid in pids.items():
            found[f"{name} KiB"] = resident(pid)
        self.seen.append(found)

    def judge(self, deaths):
        """Returns what is wrong."""
        if deaths < FEWEST:
            return []
        wrong, half, part = [], len(self.seen) // 2, max(2, len(self.seen) // 5)
        middle, late = self.seen[half:half + part], self.seen[-part:]
        for key in self.seen[0]:
            first, last = (min(found[key] for found in some) for some in (middle, late))
            print(f"{key}: {self.seen[0][key]}, half way {first}, in the end {last}")
            allowed = KIB_ALLOWED if "KiB" in key else DESCRIPTORS_ALLOWED
            if last > first + allowed + first // PART_ALLOWED:
                wrong.append(f"{key} grow: {[found[key] for found in self.seen]}")
        return wrong
