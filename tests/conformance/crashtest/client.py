# SPDX-License-Identifier: Apache-2.0
"""A client process: random work on names of its own, each call compared with the model."""
import os
import random
import signal

from crashtest import files, kernel, locks, log, model, names, streams
from crashtest.account import Account
from crashtest.model import DIRECTORY, FILE, Node

NAMES = ["a", "b", "c", "d", "e", "f", "long name " + "n" * 80, "ümlaut", "\udcff\udcfe",
         "new\nline"]
MOST_NODES = 60
USER = 20000  # every other client is not root, but somebody from here on


class Client(Account):
    def __init__(self, number, root, options, features):
        super().__init__(f"client {number}", options.seed)
        self.number, self.prefix = number, f"c{number}-"
        self.umask = 0o027 if number % 3 == 2 else 0o022
        self.random = random.Random(f"{options.seed}.{number}")
        self.counts_directories = features["counts directories"]
        self.can_zero_ranges = features["zero ranges"]
        self.mixes_order_up = features["mixes order up"]
        self.mistake = options.mistake if number == 0 else None
        self.files, self.maps, self.streams = [], [], []
        os.umask(self.umask)

        self.own = Node(DIRECTORY, 0o755)
        self.own.root_path = f"{root}/client{number}"
        os.mkdir(self.own.root_path, 0o755)
        os.chmod(self.own.root_path, 0o755)
        lock_path = f"{root}/lock{number}"
        os.close(os.open(lock_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if number % 2 == 1 and os.geteuid() == 0:
            for path in (self.own.root_path, lock_path):
                os.chown(path, USER + number, USER + number)
            kernel.become(USER + number)
            kernel.die_with_parent(signal.SIGKILL)
        self.shared = Node(DIRECTORY, 0o755)
        self.shared.root_path, self.shared.exclusive = f"{root}/shared", False
        self.make_big_directory(options.many)
        self.log = log.Log(f"{root}/log")
        self.locks = locks.Locks(lock_path)
        self.work = {}
        for module in (names, files, streams, locks, log):
            self.work.update(module.WORK)

    def make_big_directory(self, many):
        self.many = many
        self.big = Node(DIRECTORY, 0o755 & ~self.umask)
        self.own.add("big", self.big)
        os.mkdir(self.big.path(), 0o755)
        for number in range(many):
            name = f"n{number * 3:04}" + "x" * 20
            os.close(os.open(self.big.path(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self.big.add(name, Node(FILE, 0o600))

    # --- choosing what to work on ---

    def directories(self):
        """All but the large one."""
        found = [self.own, self.shared]
        for directory in found:
            found.extend(node for node in directory.names.values()
                         if node.kind == DIRECTORY and node is not self.big)
        return found

    def place(self):
        """(directory, name): something may be there, or not."""
        directory = self.random.choice(self.directories())
        name = self.random.choice(NAMES)
        return directory, name if directory.exclusive else self.prefix + name

    def existing_place(self, kind=None):
        """(directory, name), mostly of something that is there, and preferably of this kind."""
        if self.random.random() < 0.1:
            return self.place()
        wanted = [(directory, name) for directory in self.directories()
                  for name, node in directory.names.items() if kind in (None, node.kind)]
        return self.random.choice(wanted) if wanted else self.place()

    # --- working ---

    def run(self, pulse):
        things, weights = list(self.work), list(self.work.values())
        while not pulse.stopped():
            self.steps += 1
            pulse.beat(self.number, self.steps)
            if sum(len(directory.names) for directory in self.directories()) > MOST_NODES:
                self.random.choice([names.unlink, names.rmdir])(self)
            self.random.choices(things, weights)[0](self)
        return self.finish()

    def finish(self):
        """Closes all. What the judge needs to know."""
        for module in (files, streams, locks, log):
            module.let_go(self)
        top = Node(DIRECTORY)
        top.names = {f"client{self.number}": self.own}
        lock_file = Node(FILE, 0o600)
        tree = {path: {**description, "same": (self.number, description["same"])}
                for path, description in [*model.describe_tree(top, "").items(),
                                          *model.describe_tree(self.shared, "/shared").items(),
                                          (f"/lock{self.number}", lock_file.describe())]}
        return {"tree": tree, "log": self.log.sizes, "calls": self.calls, "steps": self.steps}
