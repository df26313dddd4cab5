"""System calls the standard library of Python 3.11 lacks: namespaces, mounts, parent-death signal.

Knows nothing of foundations. Everything here needs root.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWPID = 0x20000, 0x4000000, 0x20000000
CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1
PR_SET_PDEATHSIG = 1
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, 155)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _bytes(text):
    return None if text is None else os.fsencode(text)


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def enter(handle, kind):
    """Join a namespace that is open as a file."""
    _check(_libc.setns(handle, kind), "setns")


def own_network():
    """A network namespace with nothing in it but a loopback device."""
    unshare(CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def mount(source, target, kind=None, flags=0, data=None):
    _check(
        _libc.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data)),
        f"mount {source} on {target}",
    )


def bind(source, target, read_only=False):
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def private_mounts():
    mount(None, "/", None, MS_REC | MS_PRIVATE)


def pivot_root(new_root, put_old):
    _check(_libc.syscall(SYS_PIVOT_ROOT, _bytes(new_root), _bytes(put_old)), "pivot_root")


def unmount_detached(target):
    _check(_libc.umount2(_bytes(target), MNT_DETACH), f"umount {target}")


def set_host_name(name):
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def die_with_parent(expected_parent=None):
    """Be killed when the parent ends, whichever way it ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl")
    if expected_parent is not None and os.getppid() != expected_parent:
        os.kill(os.getpid(), signal.SIGKILL)


def kill_quietly(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def fork_init(work):
    """Fork the first process of a new PID namespace (unshared before) and return its pid.

    That process only reaps; `work` runs in a second one. When either ends, or the parent does,
    the kernel kills whatever is left in the namespace.
    """
    pid = os.fork()
    if pid:
        return pid
    die_with_parent()
    worker = os.fork()
    if worker == 0:
        die_with_parent()
        code = 1
        try:
            code = work() or 0
        except BaseException:  # noqa: BLE001 - the process ends here whatever happened
            import traceback

            traceback.print_exc()
        os._exit(code)
    signal.signal(signal.SIGTERM, lambda *_: kill_quietly(worker, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            ended, status = os.wait()
        except InterruptedError:
            continue
        except ChildProcessError:
            os._exit(1)
        if ended == worker:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
