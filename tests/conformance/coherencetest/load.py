# SPDX-License-Identifier: Apache-2.0
"""One round: all work, all stop, and the mount is compared with the source."""
import collections
import contextlib
import os
import random
import signal
import time

from coherencetest import changes, readers, tree
from coherencetest.judge import Judge
from coherencetest.readers import Holder
from coherencetest.worker import Worker
from crashtest.mount import MountError, wait_until
from crashtest.processes import Child, Pulse

BEHIND, THROUGH, READERS, HOLDERS = 3, 2, 2, 1
# The source answers ten times as fast as a mount. Without pauses nobody would get to see through
# the mount what is there for a moment; bursts are what programs do.
PAUSE_BEHIND = 0.03


def work(who, number, root, seed, pulse, what, pause):
    return Worker(who, number, root, seed, pulse).run(what, pause)


def hold(who, number, site, seed, pulse, calm, patience):
    holder = Holder(who, number, site.root, site.source, seed, pulse)
    counts = holder.run(readers.HOLD)
    while not calm.stopped():
        time.sleep(0.001)
    judge = Judge(calm.value(0) / 1e6, patience)
    for aspect in readers.ASPECTS:
        judge.compare(holder.questions(aspect))
    return judge, {"open files": len(holder.pairs)}, counts


def judge_tree(site, calm, patience):
    """In a process of its own: who asks a mount that does not answer cannot be told to stop."""
    judge = Judge(calm.value(0) / 1e6, patience)
    return judge, judge.compare_trees(site.root, site.source), {}


class Round:
    def __init__(self, options, site, number):
        self.options, self.site = options, site
        self.seed = f"{options.seed}.{number}"
        self.random = random.Random(f"{self.seed}.deaths")
        self.pulse, self.calm = Pulse(), Pulse()
        self.everybody, self.progress, self.deaths = [], {}, 0
        self.workers, self.holders, self.judged = [], [], []

    def start(self):
        tree.populate(self.site.source, self.seed)
        for kind, count, where, what in (("behind", BEHIND, self.site.source, changes.WORK),
                                         ("through", THROUGH, self.site.root, changes.WORK),
                                         ("reader", READERS, self.site.root, readers.WORK)):
            for _ in range(count):
                self.add(self.workers, kind, work, where, self.seed, self.pulse, what,
                         PAUSE_BEHIND if kind == "behind" else 0)
        for _ in range(HOLDERS):
            self.add(self.holders, "holder", hold, self.site, self.seed, self.pulse, self.calm,
                     self.options.deadline)

    def add(self, to, kind, function, *arguments):
        number = len(self.everybody)
        who = f"{kind} {number}"
        self.everybody.append(Child(who, f"{self.site.base}/result{number}", function, who, number,
                                    *arguments))
        to.append(self.everybody[-1])

    # --- while it runs ---

    def check(self):
        """Raises if somebody has failed or does not go on."""
        self.site.check_alive()
        now = time.monotonic()
        for number, child in enumerate(self.everybody):
            if child.ended():
                raise MountError(f"{child.name} ended early")
            calls = self.pulse.value(number)
            if self.progress.get(number, (None, 0))[0] != calls:
                self.progress[number] = (calls, now)
            elif now - self.progress[number][1] > self.options.patience:
                raise MountError(f"{child.name} hangs in call {calls}")

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check()
            time.sleep(min(0.05, max(0, end - time.monotonic())))

    def run(self):
        end = time.monotonic() + self.options.seconds
        if self.options.kills:
            pause = self.options.kills / 1000
            while time.monotonic() < end:
                self.sleep(pause * self.random.uniform(0.5, 1.5))
                self.kill()
        else:
            self.sleep(self.options.seconds)

    def kill(self):
        """The server. Another one must be there before it can die in its turn, or the guardian
        would have a reason to give up."""
        server = self.site.server()
        os.kill(server, signal.SIGKILL)
        self.deaths += 1

        def replaced():
            self.check()
            return self.site.server() != server
        wait_until(replaced, self.options.patience, "a new server")

    # --- afterwards ---

    def end(self):
        """Ends all work. Holders go on, to judge. Returns what is wrong."""
        self.pulse.stop()
        wrong = self.wait(self.workers, self.options.patience)
        self.calm.beat(0, int(time.monotonic() * 1e6))
        return wrong

    def wait(self, children, seconds):
        deadline = time.monotonic() + seconds
        for child in children:
            child.wait(max(0, deadline - time.monotonic()))
        hanging = [child for child in children if not child.ended()]
        wrong = [f"{child.name} hangs; what it hangs in now fails" for child in hanging]
        if hanging:
            self.site.let_all_calls_fail()
        for child in hanging:
            if not child.wait(5):
                child.kill()
                child.wait(1)
        return wrong + [failure for child in children
                        for _, failure in [child.result()] if failure]

    def judge(self):
        """Returns what is wrong."""
        if self.options.kills:
            self.site.server()  # answers, so it is there
        self.calm.stop()
        judges = [*self.holders, Child("judge", f"{self.site.base}/judge", judge_tree, self.site,
                                       self.calm, self.options.deadline)]
        self.everybody += judges[-1:]
        wrong = self.wait(judges, 3 * self.options.patience)
        if wrong:
            return wrong
        self.judged = [child.result()[0] for child in judges]
        return [text for result in reversed(self.judged) for text in result[0].wrong]

    def tell(self, number):
        counts = collections.defaultdict(collections.Counter)
        for child in self.workers:
            counts[child.name.split()[0]].update(child.result()[0])
        looked_at = collections.Counter()
        for child, (_, things, calls) in zip([*self.holders, None], self.judged):
            looked_at.update(things)
            if child:
                counts["holder"].update(calls)
        did = ", ".join(f"{kind} {count['calls']} calls ({count['in vain']} in vain"
                        + "".join(f", {times} {key}" for key, times in count.items()
                                  if key.startswith("ESTALE")) + ")"
                        for kind, count in counts.items())
        judges = [result[0] for result in self.judged]
        late, longest = sum(judge.late for judge in judges), max(judge.longest for judge in judges)
        print(f"round {number}: {did}" + f", {self.deaths} deaths" * bool(self.deaths) + "; "
              + ", ".join(f"{count} {thing}" for thing, count in looked_at.items())
              + f": {sum(judge.asked for judge in judges)} questions, {late} answers late"
              + f", the last came right after {1000 * longest:.0f} ms" * bool(longest), flush=True)


def run_round(options, site, number):
    """Returns what is wrong."""
    this = Round(options, site, number)
    wrong = []
    with contextlib.ExitStack() as always:
        always.callback(lambda: [child.kill() for child in this.everybody])
        try:
            this.start()
            this.run()
        except MountError as error:
            wrong.append(str(error))
        wrong += this.end()
        if wrong:
            return wrong + [failure for child in this.holders if child.ended()
                            for _, failure in [child.result()] if failure]
        wrong = this.judge()
        if this.judged:
            this.tell(number)
    return wrong


def run(options, site):
    """Returns what is wrong."""
    for number in range(1, options.rounds + 1):
        wrong = run_round(options, site, number)
        if not wrong:  # or it may not answer any more
            wrong = [note for note in site.stats().get("notes", []) if fallen_back(note)]
        if wrong:
            return [f"round {number}:"] + wrong
    return site.stop()


def fallen_back(note):
    return "cache=coherent" in note and "serving with normal" in note
