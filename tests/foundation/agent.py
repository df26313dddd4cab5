"""The inside of one instance: its namespaces, its sshd, and commands run as root in it.

Started by instance.py with the number of an open socket as argument; speaks one JSON object a line. It knows
nothing of jobs, directors or faults.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sandbox  # noqa: E402
import template  # noqa: E402

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}


def build_root(root, journal):
    sandbox.bind(root, root)
    for name in ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            sandbox.bind(f"/{name}", f"{root}/{name}", read_only=True)
    sandbox.mount("tmpfs", f"{root}/dev", "tmpfs", sandbox.MS_NOSUID, "mode=755")
    for name in DEVICES:
        if os.path.exists(f"/dev/{name}"):
            open(f"{root}/dev/{name}", "w").close()
            sandbox.bind(f"/dev/{name}", f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/pts")
    os.mkdir(f"{root}/dev/shm", 0o1777)
    sandbox.mount("devpts", f"{root}/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=620")
    for link, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
                         ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        os.symlink(target, f"{root}/dev/{link}")
    sandbox.mount("proc", f"{root}/proc", "proc", sandbox.MS_NOSUID | sandbox.MS_NODEV)
    for name in template.ETC_SHOWN:
        if os.path.isdir(f"/etc/{name}"):
            sandbox.bind(f"/etc/{name}", f"{root}/etc/{name}", read_only=True)
    sandbox.bind(journal, f"{root}/var/lib/foundation/journal")
    os.makedirs(f"{root}/.outside", exist_ok=True)
    sandbox.pivot_root(root, f"{root}/.outside")
    os.chdir("/")
    sandbox.unmount_detached("/.outside")
    os.rmdir("/.outside")


class Sshd:
    """The listener, and through /proc its sessions."""

    def __init__(self):
        self.listener = None
        self.lock = threading.Lock()

    def start(self):
        with self.lock:
            if self.listener and self.listener.poll() is None:
                return
            self.listener = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-f", "/etc/ssh/sshd_config", "-E", "/var/log/sshd.log"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=ENVIRONMENT)

    def sessions(self):
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/comm") as file:
                    name = file.read().strip()
            except OSError:
                continue
            if name.startswith("sshd") and (not self.listener or int(entry) != self.listener.pid):
                found.append(int(entry))
        return found

    def signal(self, number, listener=True, sessions=True):
        pids = ([self.listener.pid] if listener and self.listener and self.listener.poll() is None else [])
        pids += self.sessions() if sessions else []
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        return len(pids)

    def reap(self):
        if self.listener:
            try:
                self.listener.wait(5)
            except subprocess.TimeoutExpired:
                pass

    def act(self, action):
        if action == "start":
            self.start()
            return 1
        if action == "stop":  # no new connections; sessions go on
            count = self.signal(signal.SIGTERM, sessions=False)
            self.reap()
        elif action == "kill":
            count = self.signal(signal.SIGKILL)
            self.reap()
        elif action == "restart":
            count = self.signal(signal.SIGTERM, sessions=False)
            self.reap()
            self.start()
        elif action == "cut":  # every connection, the listener stays
            count = self.signal(signal.SIGKILL, listener=False)
        elif action == "pause":
            count = self.signal(signal.SIGSTOP)
        elif action == "resume":
            count = self.signal(signal.SIGCONT)
        else:
            raise ValueError(f"unknown sshd action {action}")
        return count


def run(request):
    started = time.monotonic()
    try:
        done = subprocess.run(
            request["argv"], input=base64.b64decode(request.get("stdin", "")), capture_output=True,
            env={**ENVIRONMENT, **request.get("env", {})}, cwd="/", check=False,
            timeout=request.get("timeout", 60))
    except subprocess.TimeoutExpired:
        return {"status": -1, "stdout": "", "stderr": base64.b64encode(b"timed out").decode()}
    except OSError as error:
        return {"status": 127, "stdout": "", "stderr": base64.b64encode(str(error).encode()).decode()}
    return {"status": done.returncode, "stdout": base64.b64encode(done.stdout).decode(),
            "stderr": base64.b64encode(done.stderr).decode(), "seconds": time.monotonic() - started}


def serve(channel, config):
    sandbox.set_host_name(config["host_name"])
    build_root(config["root"], config["journal"])
    sshd = Sshd()
    sshd.start()
    write_lock = threading.Lock()
    stream = channel.makefile("rwb")

    def answer(request):
        try:
            if request["op"] == "exec":
                result = run(request)
            elif request["op"] == "sshd":
                result = {"count": sshd.act(request["action"])}
            else:
                result = {"error": f"unknown op {request['op']}"}
        except Exception as error:  # noqa: BLE001 - told to the caller
            result = {"error": f"{type(error).__name__}: {error}"}
        with write_lock:
            stream.write(json.dumps({"id": request["id"], **result}).encode() + b"\n")
            stream.flush()

    with write_lock:
        stream.write(b'{"id": 0}\n')
        stream.flush()
    for line in stream:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
    return 0


def main():
    # No parent-death signal here: it would fire when the *thread* that started us ends. Our PID
    # namespace ends with the foundation's, and takes us with it.
    channel = socket.socket(fileno=int(sys.argv[1]))
    line = b""
    while not line.endswith(b"\n"):
        piece = channel.recv(65536)
        if not piece:
            return
        line += piece
    config = json.loads(line)
    os.umask(0o022)
    sandbox.unshare(sandbox.CLONE_NEWNS | sandbox.CLONE_NEWPID | sandbox.CLONE_NEWUTS)
    sandbox.private_mounts()
    pid = sandbox.fork_init(lambda: serve(channel, config))
    channel.close()
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
