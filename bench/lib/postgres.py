# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL with its data on the mount."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import time

from .contenders import Unavailable
from .steps import StepFailed

PORT = "54999"  # of a socket in the data directory: nobody else's
CLIENTS = 4


def programs():
    """Debian keeps the server's programs out of PATH, in a directory for each version."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"),
                   key=lambda path: [int(p) for p in path.split("/")[4].split(".") if p.isdigit()])
    places = [os.environ.get("PATH", ""), *reversed(found)]
    return {name: shutil.which(name, path=os.pathsep.join(places))
            for name in ("initdb", "pg_ctl", "pgbench")}


class Postgres:
    name = "pgbench"
    title = "PostgreSQL, pgbench"
    needs = ()
    RUNS = {"tpcb-like": [], "select-only": ["-S"]}

    def materials(self, _folder, quick):
        self.scale, self.seconds = (1, 1) if quick else (2, 2)
        self.program = programs()
        missing = [name for name, path in self.program.items() if not path]
        if missing:
            raise Unavailable(f"{' and '.join(missing)} not installed (Debian: postgresql, "
                              "postgresql-contrib)")
        self.user = []
        if os.geteuid() == 0:  # its server refuses to run as root
            if "postgres" not in (u.pw_name for u in pwd.getpwall()):
                raise Unavailable("runs only as another user than root; there is no user postgres")
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]

    def run(self, where, steps):
        data = f"{where}/data"
        os.mkdir(data, 0o700)
        if self.user:
            shutil.chown(data, "postgres", "postgres")
        socket = ["-h", data, "-p", PORT]

        def postgres(name, *arguments, timed=None):
            command = [*self.user, self.program[name], *arguments]
            return (steps.time(timed, command, cwd="/") if timed
                    else steps.run(command, cwd="/"))
        postgres("initdb", "-D", data, "-A", "trust", "--no-sync", timed="initdb")
        try:
            postgres("pg_ctl", "-D", data, "-w", "-l", f"{data}/log", "-o",
                     f"-k {data} -p {PORT} -c listen_addresses= -c shared_buffers=16MB", "start")
            postgres("pgbench", *socket, "-i", "-q", "-s", str(self.scale), "postgres",
                     timed="pgbench -i")
            for kind, options in self.RUNS.items():
                out = postgres("pgbench", *socket, "-n", "-c", str(CLIENTS), "-T",
                               str(self.seconds), *options, "postgres")
                rate = next((float(line.split()[2]) for line in out.splitlines()
                             if line.startswith("tps =")), 0)
                if rate <= 0:
                    raise StepFailed(f"pgbench, {kind}: no transaction was done")
                steps.record(f"{kind}, 1,000 transactions", 1000 / rate)
        finally:
            stop(data, lambda: postgres("pg_ctl", "-D", data, "-w", "-m", "fast", "-t", "20",
                                        "stop"))

    def notes(self, section):
        for row in section.rows("tpcb-like") + section.rows("select-only"):
            rates = [f"{name} {1000 / section.median(row, name):.0f}"
                     for name in section.contenders if section.median(row, name)]
            yield f"Transactions per second, {row.split(',')[0]}: {', '.join(rates)}."
        if section.values:
            yield (f"initdb --no-sync, pgbench -i -s {self.scale}, then {CLIENTS} clients for "
                   f"{self.seconds} s each; fsync as the server has it by default.")


def stop(data, politely):
    """Nothing of it may outlive the mount that its files are on."""
    pid = None
    with contextlib.suppress(OSError, ValueError, IndexError), \
            open(f"{data}/postmaster.pid") as file:
        pid = int(file.readline())
    if pid is None:
        return
    with contextlib.suppress(StepFailed):
        politely()
    for number in (signal.SIGQUIT, signal.SIGKILL):
        for _ in range(50):
            if not os.path.exists(f"/proc/{pid}"):
                return
            time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
