# SPDX-License-Identifier: Apache-2.0
"""A run of random work, with or without deaths, and the judgement on it."""
import contextlib
import os
import shutil
import time

from crashtest import growth, judge, kernel, log, probe
from crashtest.client import Client
from crashtest.deaths import Deaths
from crashtest.mount import MountError, wait_until
from crashtest.processes import Child, Pulse

def features_of(directory):
    """What the file system below does, by which the models go."""
    features = {}
    path = os.path.join(directory, "try")
    os.makedirs(path + "/inner")
    features["counts directories"] = os.stat(path).st_nlink == 3
    os.removedirs(path + "/inner")
    os.makedirs(directory, exist_ok=True)
    with open(path, "wb") as file:
        try:
            kernel.fallocate(file.fileno(), kernel.ZERO_RANGE, 0, 4096)
            features["zero ranges"] = True
        except OSError:
            features["zero ranges"] = False
    os.unlink(path)
    features["mixes order up"] = mixes_order_up(os.path.join(directory, "order"))
    return features


def mixes_order_up(directory):
    """Whether a listing tells names again when one is renamed to the name that comes next in it, as
    tmpfs does it."""
    os.mkdir(directory)
    for number in range(40):
        with open(f"{directory}/n{number:03}", "w"):
            pass
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        order = []
        while entries := kernel.getdents(fd, 4000):
            order += [name for name, _ in entries if name.startswith("n")]
        os.lseek(fd, 0, os.SEEK_SET)
        told = [name for _ in range(3) for name, _ in kernel.getdents(fd, 200)]
        following = order[order.index(told[-1]) + 1]
        os.rename(f"{directory}/{order[-1]}", f"{directory}/{following}")
        while entries := kernel.getdents(fd, 4000):
            told += [name for name, _ in entries]
    finally:
        os.close(fd)
        shutil.rmtree(directory)
    return len(told) != len(set(told))


def client_process(number, root, options, features, pulse):
    client = Client(number, root, options, features)
    try:
        return client.run(pulse)
    finally:
        client.locks.rival.stop()


class Load:
    def __init__(self, options, site):
        self.options, self.site, self.root = options, site, site.root
        self.pulse = Pulse()
        self.features = features_of(os.path.join(site.base, "features"))
        self.clients, self.probes = [], {}
        self.deaths = Deaths(options, site, self.wait_for, self.names_answered)
        self.calm = []

    def start(self):
        os.mkdir(f"{self.root}/shared")
        os.chmod(f"{self.root}/shared", 0o777)
        with open(f"{self.root}/log", "xb") as file:
            os.chmod(file.fileno(), 0o666)
        for number in range(self.options.clients):
            self.clients.append(Child(f"client {number}", f"{self.site.base}/result{number}",
                                      client_process, number, self.root, self.options,
                                      self.features, self.pulse))
        for number, kind in enumerate(probe.KINDS, self.options.clients):
            self.probes[kind] = Child(f"probe of {kind}", f"{self.site.base}/{kind}", probe.run,
                                      kind, self.root, self.pulse, number)
        self.progress = {}
        self.wait_for(lambda: all(self.pulse.value(number) for number in
                                  range(self.options.clients + len(self.probes))), "starting")

    # --- while it runs ---

    def check(self):
        """Raises if somebody has failed or does not go on."""
        self.site.check_alive()
        now = time.monotonic()
        for number, child in enumerate([*self.clients, *self.probes.values()]):
            if child.ended():
                raise MountError(f"{child.name} ended early")
            steps = self.pulse.value(number)
            if self.progress.get(number, (None, 0))[0] != steps:
                self.progress[number] = (steps, now)
            elif now - self.progress[number][1] > self.options.patience:
                raise MountError(f"{child.name} hangs in step {steps}")

    def wait_for(self, condition, text):
        def checked():
            self.check()
            return condition()
        wait_until(checked, self.options.patience, text)

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check()
            time.sleep(min(0.05, max(0, end - time.monotonic())))

    def names_answered(self, since):
        return self.pulse.value(self.options.clients) > since * 1e6

    def run(self):
        """Returns what is wrong."""
        options, deaths = self.options, self.deaths
        if not deaths.plan:
            self.sleep(options.seconds)
            return []
        deaths.begin()
        grown = growth.Growth(self.site, len(deaths.plan), self.sleep)
        often, half = max(1, len(deaths.plan) // 20), len(deaths.plan) // 2
        while deaths.plan:
            if len(deaths.plan) % often == 0:
                grown.look(deaths.now)
            if len(deaths.plan) == half:
                grown.rest()
            pause = options.interval / 1000 * deaths.random.uniform(1, 2) / 1.5
            self.sleep(pause / 2)
            self.calm.append((time.monotonic(), time.monotonic() + 0.01))
            self.sleep(pause / 2)
            deaths.next()
        grown.look(deaths.now)
        self.sleep(0.3)
        return grown.judge()

    # --- afterwards ---

    def end(self):
        """Ends all processes. Returns what they found wrong."""
        self.pulse.stop()
        everybody = [*self.clients, *self.probes.values()]
        deadline = time.monotonic() + self.options.patience
        for child in everybody:
            child.wait(max(0, deadline - time.monotonic()))
        hanging = [child for child in everybody if not child.ended()]
        wrong = [f"{child.name} hangs; what it hangs in now fails" for child in hanging]
        if hanging:
            self.site.let_all_calls_fail()
        deadline = time.monotonic() + 5
        for child in hanging:
            if not child.wait(max(0, deadline - time.monotonic())):
                child.kill()
                child.wait(1)
        return wrong + [failure for child in everybody
                        for _, failure in [child.result()] if failure]

    def judge(self):
        wanted, written = {}, {}
        for number, child in enumerate(self.clients):
            result, _ = child.result()
            wanted.update(result["tree"])
            written[number] = result["log"]
        wrong = []
        places = {"mount": self.site.root, "source": self.site.source}
        for where, root in places.items():
            found = judge.look_at_all(root)
            for ours in ("/shared", "/log"):
                found.pop(ours, None)
            wrong += judge.compare(wanted, found, where, self.features["counts directories"])
            if any(written.values()):
                with open(f"{root}/log", "rb") as file:
                    wrong += [f"{where}: {text}" for text in log.judge(file.read(), written)]
        self.summary = (f"{len(wanted)} paths, {sum(map(len, written.values()))} log records as "
                        "they should be")
        return wrong

    def tell(self):
        results = [result for result, _ in (child.result() for child in self.clients) if result]
        happened = self.deaths.happened
        print(", ".join(f"{len(found)} x {kind}" for kind, found in happened.items()) or "no death",
              f"; {sum(result['steps'] for result in results)} steps, "
              f"{sum(result['calls'] for result in results)} calls", sep="")
        if not happened:
            return
        if self.deaths.refused:
            print(f"{self.deaths.refused} upgrades did not come about")
        print(f"new process after a death of the server: {probe.describe(self.deaths.restarts)}")
        for asked, child in self.probes.items():
            slow, _ = child.result()
            if slow is None:
                continue
            for kind, moments in [*happened.items(), ("no death", self.calm)]:
                print(f"pause of {asked}, {kind}: {probe.describe(probe.pauses(slow, moments))}")


def run(options, site):
    """Returns what is wrong."""
    load = Load(options, site)
    wrong = []
    site.start()
    try:
        load.start()
        wrong += load.run()
    except MountError as error:
        wrong.append(str(error))
    finally:
        with contextlib.ExitStack() as always:
            for child in [*load.clients, *load.probes.values()]:
                always.callback(child.kill)
            wrong += load.end()
    load.tell()
    if wrong:
        return wrong
    wrong = load.judge()
    if not wrong:
        print(load.summary)
    if site.mounted:
        wrong += site.leaks()
    return wrong + site.stop()
