"""One instance: a directory that becomes `/` of its own namespaces, a real sshd, real users.

Owns the tree below `root`, its agent process and its command log. Knows jobs only through jobs.py.
"""

import base64
import fcntl
import json
import os
import random
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import jobs
import template

HERE = os.path.dirname(os.path.abspath(__file__))
ARTIFACTS = "/var/vcap/store/bbr-backup"
USER_BASE = "/var/vcap/bosh_ssh"
FAULT_DEFAULTS = {"skip": 0, "times": -1, "user": "", "seconds": 1, "status": 0, "stdout": "", "stderr": "",
                  "signal": 9, "bytes": 0, "end": "status", "pattern": ""}
FAULT_KINDS = ("delay", "stall", "cut", "cut_after", "status", "signal", "truncate", "run_then_cut",
               "run_then_status", "flip")


class FoundationError(Exception):
    """What the caller did wrong, or what did not come up; shown as it is."""


PORTS = f"{tempfile.gettempdir()}/lifeboat-foundation-ports"
taken = []


def free_port():
    """A port below the ephemeral range, so that no outgoing connection takes it before its server does, and locked
    for the life of this process, so that no other foundation does: its server would answer in place of ours."""
    os.makedirs(PORTS, exist_ok=True)
    for _ in range(200):
        port = random.SystemRandom().randrange(15000, 32000)
        try:
            lock = os.open(f"{PORTS}/{port}", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
            taken.append(lock)
            return port
        except OSError:
            os.close(lock)
    raise FoundationError("no free port on 127.0.0.1")


class Instance:
    """`key` is unique (`dep/g/id`, or the host's name); `name` is what BBR calls it (`g/id`, `bosh/0`)."""

    def __init__(self, key, name, spec, directory, journal):
        self.key, self.name, self.spec, self.journal = key, name, spec, journal
        self.directory = os.path.join(directory, key.replace("/", "_"))
        self.root = os.path.join(self.directory, "root")
        self.vcap = os.path.join(self.root, "var/vcap")
        self.inner = os.path.join(self.root, "var/lib/foundation")
        self.port = spec.get("port") or free_port()
        self.users = threading.RLock()
        self.faults = {}
        self.next_fault = 1
        self.agent = None

    # -- the tree ------------------------------------------------------------------------------

    def prepare(self, etc):
        root = self.root
        for path in ("dev", "proc", "run/sshd", "mnt", "opt", "srv", "sys", "home/vcap", "var/log", "var/cache",
                     "var/spool", "var/mail", "var/lib/sudo", "var/lib/foundation/faults", "var/vcap/jobs",
                     "var/vcap/store", "var/vcap/data/jobs", "var/vcap/data/sys", "var/vcap/bosh_ssh",
                     "var/vcap/sys/log", "var/vcap/sys/run"):
            os.makedirs(f"{root}/{path}", mode=0o755)
        for path, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)):
            os.makedirs(f"{root}/{path}")
            os.chmod(f"{root}/{path}", mode)
        os.symlink("/run", f"{root}/var/run")
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr"):
            if os.path.islink(f"/{name}"):
                os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
            elif os.path.isdir(f"/{name}"):
                os.mkdir(f"{root}/{name}")
        shutil.copytree(etc, f"{root}/etc", symlinks=True)
        host = self.host_name()
        self.write("etc/hostname", host + "\n")
        self.write("etc/hosts", f"127.0.0.1 localhost {host}\n")
        deployment = self.key[: -len(self.name) - 1] if self.key.endswith("/" + self.name) else "-"
        self.write("var/lib/foundation/instance", f"{deployment} {self.name}\n")
        self.write("var/lib/foundation/bootstrap", "true\n" if self.spec.get("bootstrap", True) else "false\n")
        self.write("var/lib/foundation/journal", "")
        self.write("var/lib/foundation/journal.sh", template.JOURNAL)
        self.write("var/lib/foundation/exec", template.EXEC, 0o755)
        self.write("var/lib/foundation/commands", "", 0o666)
        os.chmod(f"{self.inner}/faults", 0o1777)
        if self.spec.get("windows"):
            self.write("var/lib/foundation/windows", "")
        self.configure_sshd()
        self.make_host_key()
        for name, job in self.spec.get("jobs", {}).items():
            if job is not None:
                jobs.write_job(self.vcap, name, job)
        for path, content in self.spec.get("files", {}).items():
            jobs.write_file(self.inside(path), content)

    def host_name(self):
        return re.sub(r"[^a-z0-9-]", "-", self.name.lower())[:60]

    def write(self, path, text, mode=0o644):
        full = os.path.join(self.root, path)
        with open(full, "w") as file:
            file.write(text)
        os.chmod(full, mode)

    def inside(self, path):
        """Where a path of the instance lies outside of it (links are not followed)."""
        clean = os.path.normpath("/" + path.lstrip("/"))
        if clean.startswith("/var/vcap/jobs/"):  # the one link that is always there
            parts = clean.split("/")
            place = f"{self.vcap}/jobs/{parts[4]}"
            if os.path.islink(place):
                clean = "/".join([os.readlink(place), *parts[5:]])
        return self.root + clean

    def configure_sshd(self):
        values = {"max_startups": "10:30:100", "max_sessions": 10, "forwarding": "no", "extra": "",
                  **self.spec.get("sshd", {})}
        if self.spec.get("windows"):
            # Windows' OpenSSH says so in its greeting.
            values["extra"] += "\nVersionAddendum for_Windows"
        self.write("etc/ssh/sshd_config", template.SSHD_CONFIG.format(port=self.port, **values))

    def make_host_key(self, kind=None):
        kind = kind or self.spec.get("host_key", "ed25519")
        path = f"{self.root}/etc/ssh/ssh_host_key"
        for old in (path, path + ".pub"):
            if os.path.exists(old):
                os.unlink(old)
        extra = {"rsa": ["-b", "2048"], "ecdsa": ["-b", "256"]}.get(kind, [])
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *extra, "-N", "", "-C", self.host_name(), "-f", path],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.host_public_key = open(path + ".pub").read().strip()

    # -- the agent -----------------------------------------------------------------------------

    def boot(self):
        ours, theirs = socket.socketpair()
        self.replies, self.sequence, self.calls = {}, 0, threading.Condition()
        self.agent = subprocess.Popen([sys.executable, "-I", "-S", f"{HERE}/agent.py", str(theirs.fileno())],
                                      pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
        theirs.close()
        self.channel = ours.makefile("rwb")
        self._socket = ours
        self._send({"root": self.root, "journal": self.journal, "host_name": self.host_name()})
        threading.Thread(target=self._read, daemon=True).start()
        with self.calls:
            if not self.calls.wait_for(lambda: 0 in self.replies or "gone" in self.replies, 20):
                raise FoundationError(f"instance {self.name} did not start")
            if self.replies.pop(0, None) is None:
                raise FoundationError(f"instance {self.name} ended while starting")
        self.wait_for_ssh()

    def _send(self, message):
        self.channel.write(json.dumps(message).encode() + b"\n")
        self.channel.flush()

    def _read(self):
        replies, channel = self.replies, self.channel
        try:
            for line in channel:
                reply = json.loads(line)
                with self.calls:
                    replies[reply["id"]] = reply
                    self.calls.notify_all()
        except (OSError, ValueError):
            pass
        with self.calls:
            replies["gone"] = True
            self.calls.notify_all()

    def call(self, op, timeout=120, **arguments):
        if not self.agent or self.agent.poll() is not None:
            raise FoundationError(f"instance {self.name} is off")
        with self.calls:
            self.sequence += 1
            number = self.sequence
            self._send({"id": number, "op": op, **arguments})
            if not self.calls.wait_for(lambda: number in self.replies or "gone" in self.replies, timeout):
                raise FoundationError(f"instance {self.name} does not answer")
            reply = self.replies.pop(number, None)
        if reply is None:
            raise FoundationError(f"instance {self.name} went away")
        if "error" in reply:
            raise FoundationError(f"instance {self.name}: {reply['error']}")
        return reply

    def execute(self, argv, stdin=b"", timeout=60):
        """Run as root inside; returns (status, stdout, stderr)."""
        reply = self.call("exec", argv=argv, stdin=base64.b64encode(stdin).decode(), timeout=timeout)
        return reply["status"], base64.b64decode(reply["stdout"]), base64.b64decode(reply["stderr"])

    def shell(self, script, timeout=60):
        status, out, err = self.execute(["/bin/bash", "-c", script], timeout=timeout)
        if status != 0:
            raise FoundationError(f"instance {self.name}: {err.decode(errors='replace').strip()} (status {status})")
        return out.decode(errors="replace")

    def wait_for_ssh(self, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as probe:
                    if probe.recv(4) == b"SSH-":
                        return
            except OSError:
                pass
            time.sleep(0.01)
        log = f"{self.root}/var/log/sshd.log"
        text = open(log).read() if os.path.exists(log) else ""
        raise FoundationError(f"the sshd of {self.name} does not answer on port {self.port}: {text[-500:]}")

    def sshd(self, action):
        reply = self.call("sshd", action=action)
        if action in ("start", "restart"):
            self.wait_for_ssh()
        return reply["count"]

    def power(self, on):
        """Off is a crash: every process of the instance ends at once. The disk stays."""
        if not on and self.agent:
            self.agent.kill()
            self.agent.wait()
        elif on and (not self.agent or self.agent.poll() is not None):
            self.boot()

    def is_on(self):
        return self.agent is not None and self.agent.poll() is None

    def set_jobs(self, wanted):
        """The jobs of its group are these from now on; what was given to this instance alone stays."""
        before = self.spec.get("template", {})
        for name in set(before) - set(wanted):
            jobs.remove_job(self.vcap, name)
        for name, job in wanted.items():
            if before.get(name) != job:
                jobs.write_job(self.vcap, name, job)
        self.spec["template"] = wanted

    def rotate_host_key(self, kind=None):
        self.make_host_key(kind)
        self.sshd("restart")
        return self.host_public_key

    # -- users, as the BOSH agent handles them ---------------------------------------------------

    def add_user(self, user, public_key, sudo=True, home_base=USER_BASE):
        groups = "vcap,bosh_sudoers,bosh_sshers" if sudo else "vcap,bosh_sshers"
        home = f"{home_base}/{user}"
        with self.users:
            self.shell(
                f"set -e; id -u {shlex.quote(user)} > /dev/null 2>&1 || useradd -m -b {home_base} -s /bin/bash "
                f"-p '*' -G {groups} {shlex.quote(user)}; install -d -m 700 -o {user} -g {user} {home}/.ssh; "
                f"printf '%s\\n' {shlex.quote(public_key.strip())} > {home}/.ssh/authorized_keys; "
                f"chown {user}: {home}/.ssh/authorized_keys; chmod 600 {home}/.ssh/authorized_keys")

    def delete_users(self, pattern):
        """Only users whose names start with bosh_, as the agent does; returns the deleted names."""
        with self.users:
            names = [name for name in self.user_names("bosh_") if re.search(pattern, name)]
            if names:
                self.shell("for user in " + " ".join(map(shlex.quote, names)) +
                           f"; do userdel -rf \"$user\" 2> /dev/null; rm -rf {USER_BASE}/\"$user\"; done")
        return names

    def user_names(self, prefix=""):
        with open(f"{self.root}/etc/passwd") as file:
            return [line.split(":")[0] for line in file if line.startswith(prefix)]

    # -- faults at single commands, and the record of commands ------------------------------------

    def add_fault(self, fault):
        unknown = set(fault) - set(FAULT_DEFAULTS) - {"kind"}
        if unknown or fault.get("kind") not in FAULT_KINDS:
            raise FoundationError(f"unknown command fault {fault}")
        number = str(self.next_fault)
        self.next_fault += 1
        values = {**FAULT_DEFAULTS, **fault}
        self.write(f"var/lib/foundation/faults/{number}",
                   "".join(f"{key}={shlex.quote(str(value))}\n" for key, value in values.items()))
        self.write(f"var/lib/foundation/faults/{number}.count", "", 0o666)
        self.faults[number] = fault
        self._list_faults()
        return number

    def clear_faults(self, number=None):
        for name in [str(number)] if number else list(self.faults):
            self.faults.pop(name, None)
        self._list_faults()

    def _list_faults(self):
        self.write("var/lib/foundation/fault_list", "".join(f"{name}\n" for name in self.faults))

    def fault_hits(self):
        """How many commands each fault's pattern has matched."""
        return {name: os.path.getsize(f"{self.inner}/faults/{name}.count") for name in self.faults}

    def commands(self):
        entries = []
        with open(f"{self.inner}/commands") as file:
            for line in file:
                microseconds, user, connection, text = (line.rstrip("\n").split(" ") + [""])[:4]
                entries.append({"us": int(microseconds), "user": user, "connection": int(connection),
                                "command": base64.b64decode(text).decode(errors="replace")})
        return entries

    def artifacts(self):
        """The state of the artifact directory: does it exist, and which files does it hold."""
        place = self.root + ARTIFACTS
        files = []
        for path, _names, names in os.walk(place):
            files += [os.path.relpath(os.path.join(path, name), place) for name in names]
        return {"exists": os.path.isdir(place), "files": sorted(files)}

    def describe(self):
        return {"key": self.key, "name": self.name, "host": "127.0.0.1", "port": self.port, "root": self.root,
                "host_public_key": self.host_public_key}

    def end(self):
        if self.agent and self.agent.poll() is None:
            self.agent.kill()
            self.agent.wait()
