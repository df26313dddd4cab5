"""A foundation as its users start it: a child process, a ready line, a control socket."""

import json
import os
import subprocess
import sys

import control

HERE = os.path.dirname(os.path.abspath(__file__))


class Running:
    started = []

    def __init__(self, spec, directory=None):
        arguments = [sys.executable, f"{HERE}/foundation.py", "serve", "--spec", "-"]
        self.process = subprocess.Popen(arguments + (["--dir", directory] if directory else []),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        Running.started.append(self)
        self.process.stdin.write(json.dumps(spec).encode() + b"\n")
        self.process.stdin.flush()
        self.ready = json.loads(self.process.stdout.readline() or b"{}")
        if not self.ready.get("ready"):
            raise RuntimeError(f"no foundation: {self.ready.get('error')}")

    def ask(self, verb, **arguments):
        return control.ask(self.ready["control"], {"do": verb, **arguments})

    def instance(self, key):
        return self.ready["instances"][key]

    def journal(self, **match):
        """Entries as (instance, job, script, event), for the given keys."""
        return [(line["instance"], line["job"], line["script"], line["event"])
                for line in self.ask("journal")["lines"]
                if all(line.get(key) == value for key, value in match.items())]

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    @classmethod
    def end_all(cls):
        while cls.started:
            one = cls.started.pop()
            if one.process.poll() is None:
                one.end()


def ssh(address, user, key_file, command, stdin=b"", options=(), timeout=30):
    """OpenSSH's own client; returns (status, stdout, stderr). Status 255 is the client's own trouble."""
    host, port = address.rsplit(":", 1)
    done = subprocess.run(
        ["ssh", "-F", "none", "-i", key_file, "-p", port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o",
         "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", *options,
         f"{user}@{host}", command], input=stdin, capture_output=True, check=False, timeout=timeout)
    return done.returncode, done.stdout, done.stderr
