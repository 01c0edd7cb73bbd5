"""First process of a container: its mounts, the image's command, SIGTERM passed on, reaping, death with the parent.

Run as `python -I -S container_init.py JSON`, with the container's environment as its own. Standard library only, and no
import of ours: inside the container the repository need not be on any path. JSON holds

    mode     "unshare" | "bwrap" | "base_dir" | "inner" (what bwrap runs)
    root     directory with the container's private ml/ and tmp/
    visible  directories that stay readable although they lie below /tmp
    network  false takes the network away (unshare and bwrap)
    hosts_file  takes the place of /etc/hosts (unshare and bwrap); null leaves the machine's
    parent   process id of the runner
    cwd      where the command starts
    argv     the command
"""

# It starts with every container: os.path spares the import of pathlib; /tmp is the container's own.
# ruff: noqa: PTH102, PTH103, PTH112, PTH114, PTH115, PTH118, PTH123, PTH208, PTH211, S108, S606

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

MS_RDONLY, MS_BIND, MS_REC, MS_PRIVATE, MS_MOVE = 1, 4096, 16384, 1 << 18, 8192
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# mount_setattr(2), Linux 5.12; the number is the same on every architecture but alpha.
SYS_MOUNT_SETATTR, MOUNT_ATTR_RDONLY, AT_FDCWD, AT_RECURSIVE = 442, 1, -100, 0x8000
EXIT_CANNOT_START, EXIT_NOT_FOUND = 126, 127
HOSTS_FILE = os.path.realpath("/etc/hosts")  # a link cannot be mounted on
libc = ctypes.CDLL(None, use_errno=True)


def call_libc(function: str, *args: object) -> None:
    if getattr(libc, function)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def mount(source: str, target: str, flags: int, kind: str | None = None) -> None:
    call_libc(
        "mount", os.fsencode(source), os.fsencode(target), kind and kind.encode(), ctypes.c_ulong(flags), None
    )


def die_with_parent(expected_parent: int | None = None, number: int = signal.SIGKILL) -> None:
    call_libc("prctl", PR_SET_PDEATHSIG, number, 0, 0, 0)
    # The parent may have gone between fork and prctl.
    if expected_parent is not None and os.getppid() != expected_parent:
        os._exit(EXIT_CANNOT_START)


def unshare(*, network: bool) -> None:
    flags = CLONE_NEWNS | CLONE_NEWPID | (0 if network else CLONE_NEWNET)
    uid, gid = os.getuid(), os.getgid()
    if uid != 0:
        flags |= CLONE_NEWUSER
    call_libc("unshare", flags)
    if uid != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def set_up_private_mounts(root: str, visible_paths: list[str], hosts_file: str | None) -> None:
    mount("none", "/", MS_REC | MS_PRIVATE)
    if hosts_file is not None:
        mount(hosts_file, HOSTS_FILE, MS_BIND)
    if not os.path.isdir("/opt/ml"):
        create_opt_ml(os.path.join(root, "opt"))
    mount(os.path.join(root, "ml"), "/opt/ml", MS_BIND)
    tmp = os.path.join(root, "tmp")
    for path in visible_paths:
        if path.startswith("/tmp/"):
            inside = os.path.join(tmp, path[len("/tmp/") :])
            os.makedirs(inside, exist_ok=True)
            mount(path, inside, MS_BIND | MS_REC)
    mount(tmp, "/tmp", MS_BIND | MS_REC)
    # Neither is allowed inside every container engine: the outer /proc then shows outer process ids, and the
    # machine's files are as writable for the command as for the user who runs it.
    try_or_warn("/proc stays the host's", lambda: mount("proc", "/proc", 0, "proc"))
    try_or_warn("the host's files stay writable", lambda: remount_read_only_except(["/opt/ml", "/tmp"]))


def try_or_warn(warning: str, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as error:
        sys.stderr.write(f"container: {warning} ({error.strerror})\n")


def remount_read_only_except(writable_paths: list[str]) -> None:
    """Remount everything read-only, except `writable_paths` and a /dev/shm of the container's own."""
    if os.path.isdir("/dev/shm"):
        mount("tmpfs", "/dev/shm", 0, "tmpfs")
        writable_paths = [*writable_paths, "/dev/shm"]
    set_mount_attributes("/", AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0)
    for path in writable_paths:
        set_mount_attributes(path, 0, 0, MOUNT_ATTR_RDONLY)


def set_mount_attributes(path: str, flags: int, added: int, cleared: int) -> None:
    attributes = struct.pack("QQQQ", added, cleared, 0, 0)
    size = ctypes.c_size_t(len(attributes))
    call_libc("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, attributes, size)


def create_opt_ml(new_opt: str) -> None:
    """/opt with everything it has, plus an empty /opt/ml, without a change to the machine's own /opt."""
    os.makedirs(new_opt, exist_ok=True)
    mount("tmpfs", new_opt, 0, "tmpfs")
    for name in os.listdir("/opt"):
        source, target = os.path.join("/opt", name), os.path.join(new_opt, name)
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
        elif os.path.isdir(source):
            os.mkdir(target)
            mount(source, target, MS_BIND | MS_REC)
        else:
            os.close(os.open(target, os.O_CREAT, 0o644))
            mount(source, target, MS_BIND)
    os.mkdir(os.path.join(new_opt, "ml"))
    mount(new_opt, "/opt", MS_MOVE)


def execute(argv: list[str], cwd: str) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(cwd)
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"exec: {argv[0]!r}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(EXIT_NOT_FOUND)


def forward_signals(child: int) -> None:
    def forward(number: int, _frame: FrameType | None) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            return

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)


def wait_for_exit(child: int) -> int:
    """Reaps everything until `child` ends; its exit code as a container engine gives it."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def start_and_wait(argv: list[str], cwd: str) -> int:
    child = os.fork()
    if child == 0:
        die_with_parent()
        execute(argv, cwd)
    forward_signals(child)
    return wait_for_exit(child)


def run_unshare(plan: dict[str, Any]) -> int:
    unshare(network=plan["network"])
    init = os.fork()
    if init == 0:
        # Killing the first process of a process namespace kills all of it.
        die_with_parent()
        set_up_private_mounts(plan["root"], plan["visible"], plan["hosts_file"])
        os._exit(start_and_wait(plan["argv"], plan["cwd"]))
    forward_signals(init)
    return wait_for_exit(init)


def run_base_dir(plan: dict[str, Any]) -> int:
    # Without a process namespace, the group that the runner made this process the leader of stands in for one.
    signal.signal(signal.SIGUSR1, lambda *_: os.killpg(0, signal.SIGKILL))
    die_with_parent(plan["parent"], signal.SIGUSR1)
    call_libc("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    code = start_and_wait(plan["argv"], plan["cwd"])
    # What the command left behind goes with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    return code


def run_bwrap(plan: dict[str, Any]) -> int:
    reads, writes = os.pipe()
    os.set_inheritable(writes, True)
    root = plan["root"]
    command = ["bwrap", "--die-with-parent", "--unshare-pid", "--as-pid-1", "--info-fd", str(writes)]
    command += ["--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev"]
    command += ["--tmpfs", "/dev/shm", "--proc", "/proc", "--tmpfs", "/opt"]
    for name in sorted(os.listdir("/opt")) if os.path.isdir("/opt") else []:
        if name != "ml":
            command += ["--ro-bind", f"/opt/{name}", f"/opt/{name}"]
    command += ["--bind", os.path.join(root, "ml"), "/opt/ml", "--bind", os.path.join(root, "tmp"), "/tmp"]
    if plan["hosts_file"] is not None:
        command += ["--ro-bind", plan["hosts_file"], HOSTS_FILE]
    for path in plan["visible"]:
        if path.startswith("/tmp/"):
            command += ["--ro-bind", path, path]
    if not plan["network"]:
        command.append("--unshare-net")
    script = os.path.realpath(__file__)
    inner = json.dumps({**plan, "mode": "inner", "parent": None})
    command += ["--ro-bind", script, "/opt/container_init.py", "--", sys.executable, "-I", "-S"]
    command += ["/opt/container_init.py", inner]
    child = os.fork()
    if child == 0:
        die_with_parent()
        os.close(reads)
        execute(command, "/")
    os.close(writes)
    with os.fdopen(reads) as info:
        text = info.read()
    if text:
        forward_signals(json.loads(text)["child-pid"])
    return wait_for_exit(child)


RUN_BY_MODE = {"unshare": run_unshare, "bwrap": run_bwrap, "base_dir": run_base_dir}


def main() -> int:
    plan = json.loads(sys.argv[1])
    if plan["mode"] == "inner":
        return start_and_wait(plan["argv"], plan["cwd"])
    try:
        die_with_parent(plan["parent"])
        return RUN_BY_MODE[plan["mode"]](plan)
    except OSError as error:
        sys.stderr.write(f"container: {error}\n")
        return EXIT_CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
