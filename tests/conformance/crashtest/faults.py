# SPDX-License-Identifier: Apache-2.0
"""Deaths at named points: one operation after another, each of a kind that must not run twice, and
the server dies when it passes the point for the Nth time, for each N."""
import errno
import fcntl
import os
import signal

from crashtest import judge, kernel, locks
from crashtest.account import Account
from crashtest.mount import Mount, MountError
from crashtest.processes import Child

POINTS = ["intent", "done", "noted", "replied", "lookup", "forget", "open", "release", "recover"]
DEADLINE = 60


class Script(Account):
    """The same on each directory. Every call has one right result."""

    def __init__(self, root, seed, forget=None, halfway=None):
        super().__init__("script", seed)
        self.root = root
        self.forget, self.halfway = forget or (lambda: None), halfway or (lambda: None)

    def at(self, name):
        return f"{self.root}/{name}"

    def do(self, text, wanted, function, *arguments, **named):
        self.steps += 1
        return self.call(text, wanted, function, *arguments, **named)

    def open(self, name, flags, mode=0o644, wanted=0):
        return self.do(f"open {name} {flags:o}", wanted, os.open, self.at(name), flags, mode)

    def write(self, fd, data):
        self.same("count", self.do(f"write {len(data)}", 0, os.write, fd, data), len(data))

    def close(self, fd):
        self.do("close", 0, os.close, fd)

    def run(self):
        os.umask(0o022)
        for part in (self.make, self.rename, self.forget, self.change, self.halfway, self.append,
                     self.copy, self.nameless, self.lock, self.list, self.remove, self.forget,
                     self.make_again):
            part()
        return self.calls

    def make(self):
        fd = self.open("a", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640)
        self.write(fd, b"first")
        self.write(fd, b"second")
        self.do("pwrite", 0, os.pwrite, fd, b"F", 0)
        self.close(fd)
        self.open("a", os.O_CREAT | os.O_EXCL | os.O_RDWR, wanted=errno.EEXIST)
        for name, make in (("d", lambda path: os.mkdir(path, 0o750)),
                           ("p", lambda path: os.mkfifo(path, 0o600)),
                           ("s", lambda path: os.symlink("target", path))):
            self.do(f"make {name}", 0, make, self.at(name))
            self.do(f"make {name} again", errno.EEXIST, make, self.at(name))
        self.do("link", 0, os.link, self.at("a"), self.at("d/l"))
        self.do("link again", errno.EEXIST, os.link, self.at("a"), self.at("d/l"))
        self.same("links", self.do("stat", 0, os.stat, self.at("d/l")).st_nlink, 2)

    def rename(self):
        def rename(old, new, flags, wanted=0):
            self.do(f"rename {old} {new} {flags}", wanted, kernel.renameat2, self.at(old),
                    self.at(new), flags)
        rename("a", "d/b", 0)
        rename("a", "d/b", 0, errno.ENOENT)
        rename("d/b", "c", kernel.NOREPLACE)
        rename("d/l", "c", kernel.NOREPLACE, errno.EEXIST)
        rename("c", "s", kernel.EXCHANGE)
        self.same("target", self.do("readlink", 0, os.readlink, self.at("c")), "target")
        self.close(self.open("e", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        rename("e", "p", 0)
        self.do("mkdir", 0, os.mkdir, self.at("d2"))
        self.do("mkdir", 0, os.mkdir, self.at("d3"))
        rename("d2", "d3", 0)
        rename("d3", "d/inner", 0)
        rename("d", "d/inner/d", 0, errno.EINVAL)

    def change(self):
        path = self.at("s")
        self.do("chmod", 0, os.chmod, path, 0o604)
        self.do("utimensat", 0, os.utime, path, ns=(10**18, 10**18))
        self.do("truncate", 0, os.truncate, path, 9)
        for name, value, flags, wanted in (
                ("user.x", b"1", os.XATTR_CREATE, 0),
                ("user.x", b"2", os.XATTR_CREATE, errno.EEXIST),
                ("user.x", b"3", os.XATTR_REPLACE, 0),
                ("user.y", b"4", os.XATTR_REPLACE, errno.ENODATA), ("user.y", b"5", 0, 0)):
            self.do(f"setxattr {name} {flags}", wanted, os.setxattr, path, name, value, flags)
        self.do("removexattr", 0, os.removexattr, path, "user.y")
        self.do("removexattr again", errno.ENODATA, os.removexattr, path, "user.y")
        fd = self.open("s", os.O_RDWR)
        self.do("fallocate", 0, kernel.fallocate, fd, 0, 0, 20)
        self.do("ftruncate", 0, os.ftruncate, fd, 15)
        self.do("fchmod", 0, os.fchmod, fd, 0o644)
        self.do("fsync", 0, os.fsync, fd)
        self.same("content", self.do("pread", 0, os.pread, fd, 100, 0), b"Firstseco" + bytes(6))
        self.close(fd)
        fd = self.open("s", os.O_WRONLY | os.O_TRUNC)
        self.write(fd, b"new")
        self.close(fd)

    def append(self):
        for flags in (os.O_WRONLY, os.O_RDWR):
            fd = self.open("log", os.O_CREAT | os.O_APPEND | flags)
            for number in range(4):
                self.write(fd, b"record %d\n" % number)
            self.close(fd)

    def copy(self):
        source = self.open("log", os.O_RDONLY)
        target = self.open("copy", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        count = self.do("copy_file_range", 0, os.copy_file_range, source, target, 30, 5, 2)
        self.same("copied", count, 30)
        self.close(target)
        self.close(source)

    def nameless(self):
        fd = self.open("", os.O_TMPFILE | os.O_RDWR, 0o600)
        self.write(fd, b"nameless")
        self.do("linkat", 0, kernel.link_open_file, fd, self.at("named"))
        self.do("linkat again", errno.EEXIST, kernel.link_open_file, fd, self.at("named"))
        self.same("links", self.do("fstat", 0, os.fstat, fd).st_nlink, 1)
        self.close(fd)
        fd = self.open("", os.O_TMPFILE | os.O_RDWR, 0o600)
        self.write(fd, b"lost")
        self.close(fd)

    def lock(self):
        first, second = (self.open("named", os.O_RDWR) for _ in range(2))
        for kind in ("flock", "ofd"):
            self.do(f"{kind} lock", 0, locks.lock, first, kind, locks.EXCLUSIVE)
            self.do(f"{kind} lock, held", errno.EAGAIN, locks.lock, second, kind, locks.EXCLUSIVE)
            self.do(f"{kind} unlock", 0, locks.lock, first, kind, locks.NONE)
            self.do(f"{kind} lock, free", 0, locks.lock, second, kind, locks.SHARED)
        self.do("POSIX lock", 0, locks.lock, first, "posix", locks.EXCLUSIVE)
        self.do("OFD lock of its range", errno.EAGAIN, kernel.record_lock, second,
                kernel.OFD_SETLK, fcntl.F_RDLCK, *locks.RANGES["posix"])
        self.close(first)  # which ends the POSIX lock
        self.do("OFD lock of its range", 0, kernel.record_lock, second,
                kernel.OFD_SETLK, fcntl.F_RDLCK, *locks.RANGES["posix"])
        # By itself it would end a moment after the close.
        self.do("flock unlock", 0, locks.lock, second, "flock", locks.NONE)
        self.do("OFD unlock", 0, kernel.record_lock, second, kernel.OFD_SETLK, fcntl.F_UNLCK, 0, 0)
        self.close(second)
        self.wait_for_locks()

    def wait_for_locks(self):
        """Another process waits, and gets the lock when it is released."""
        fd = self.open("named", os.O_RDWR)
        rival = locks.Rival(self.at("named"), fd)
        for kind in locks.KINDS:
            self.do(f"{kind} lock", 0, locks.lock, fd, kind, locks.EXCLUSIVE)
            rival.tell("wait", kind, locks.EXCLUSIVE)
            if rival.has_answered(0.02):
                self.fail(f"the second process has the {kind} lock, which is held")
            self.do(f"{kind} unlock", 0, locks.lock, fd, kind, locks.NONE)
            self.same(f"{kind} lock", rival.answer(self, "waiting for the lock")[0], 0)
            self.do(f"{kind} lock, which the second process has", errno.EAGAIN, locks.lock, fd,
                    kind, locks.SHARED)
        rival.stop()
        self.close(fd)

    def list(self):
        for number in range(30):
            self.do("mkdir", 0, os.mkdir, self.at(f"d/inner/{number}"))
        fd = self.open("d/inner", os.O_RDONLY | os.O_DIRECTORY)
        told = []
        while True:
            entries = self.do("getdents", 0, kernel.getdents, fd, 200)
            if not entries:
                break
            told += [name for name, _ in entries]
        self.close(fd)
        self.same("names", sorted(told), sorted([".", ".."] + [str(n) for n in range(30)]))
        for number in range(30):
            self.do("rmdir", 0, os.rmdir, self.at(f"d/inner/{number}"))

    def remove(self):
        fd = self.open("copy", os.O_RDWR)
        self.do("unlink", 0, os.unlink, self.at("copy"))
        self.do("unlink again", errno.ENOENT, os.unlink, self.at("copy"))
        self.write(fd, b"gone")
        self.same("links", self.do("fstat", 0, os.fstat, fd).st_nlink, 0)
        self.same("content", self.do("pread", 0, os.pread, fd, 6, 0), b"gone0\n")
        self.close(fd)
        self.do("unlink", 0, os.unlink, self.at("d/l"))
        self.do("rmdir", errno.ENOTEMPTY, os.rmdir, self.at("d"))
        self.do("rmdir", 0, os.rmdir, self.at("d/inner"))
        self.do("rmdir again", errno.ENOENT, os.rmdir, self.at("d/inner"))
        self.do("unlink", 0, os.unlink, self.at("p"))

    def make_again(self):
        for name in ("a", "copy", "p"):
            fd = self.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            self.write(fd, name.encode())
            self.close(fd)
        self.do("mkdir", 0, os.mkdir, self.at("d/inner"))


def one_run(options, mount):
    """Returns (how often the server died at the point, what is wrong)."""
    native = os.path.join(mount.base, "native")
    os.mkdir(native, 0o755)
    Script(native, options.seed).run()

    mount.start()
    mount.check_recovers()
    server = mount.server()
    recovering = mount.fault.startswith("recover")

    def kill():
        os.kill(server, signal.SIGKILL)
    script = Script(mount.root, options.seed, lambda: kernel.forget_unused_names(mount.root),
                    kill if recovering else None)
    child = Child("script", f"{mount.base}/result", script.run)
    if not child.wait(DEADLINE):
        mount.let_all_calls_fail()
        child.kill()
        child.wait(10)
        return 0, [f"the script hangs: {child.result()[1]}"]
    _, failure = child.result()
    if failure:
        return 0, [failure]
    wrong = []
    wanted = judge.look_at_all(native)
    for where, root in (("mount", mount.root), ("source", mount.source)):
        wrong += judge.compare(wanted, judge.look_at_all(root), where, True)
    wrong += mount.leaks()
    deaths = mount.server_starts() - 1 - recovering
    return deaths, wrong + mount.stop()


def run(options):
    """Returns what is wrong."""
    points = POINTS if options.fault == "all" else options.fault.split(",")
    for point in points:
        passed = 0
        for number in range(options.first, options.first + options.most, options.every):
            fault = f"{point}:{number}" + "*" * options.again
            mount = Mount(options.program, options.base, options.mount_options, fault)
            keep = True
            try:
                deaths, wrong = one_run(options, mount)
                keep = bool(wrong)
            except MountError as error:
                deaths, wrong = 0, [f"{error}\n{mount.said()}"]
            finally:
                mount.clean_up(keep)
            if wrong:
                return [f"with PFS_FAULT={fault}:", *wrong]
            if deaths == 0:
                break
            passed += 1
        print(f"{point}: {passed} deaths, nothing lost and nothing repeated")
        if passed == 0 and options.first == 1:
            return [f"the server never dies at the point {point!r}"]
    return []
