"""What one step of one contender cost, as seen from outside of it.

- wall, CPU: of its commands, from start to end; CPU includes what they started and waited for.
- memory: the most that its processes held together (resident set), looked at ten times a second.
- bytes over SSH: TCP packets of the instances' SSH ports on the loopback of a network namespace of the bench's own, both
  directions, headers included, counted by the kernel (iptables).
- requests: lines of the S3 server's own access log.
- stored: bytes of the files below the S3 server's directory. Disk: what `du` says of the directory that holds the contender's
  HOME, TMPDIR, cache and results, after each command.
- API unavailable: from the start of the first script to the end of the last unlock (without one: backup) script, by the scripts' own
  journal; less the time in which any script ran.
"""

import json
import os
import re
import subprocess
import threading
import time

PAUSE = 0.1
WINDOW = ("pre-backup-lock", "backup", "post-backup-unlock")


class Failed(Exception):
    """A contender's command failed; what it said last."""


class Step:
    """Measures what `run` runs. `world` is a scratch.World, `place` the contender's directory on the worker."""

    def __init__(self, world, place):
        self.world, self.place = world, place
        self.found = {"wall": 0.0, "cpu": 0.0, "memory": 0, "disk": 0}

    def __enter__(self):
        self.journal = os.path.getsize(self.world.journal)
        self.requests = self.world.requests()
        self.stored = self.world.stored()
        self.wire = self.world.wire()
        return self

    def run(self, command, **more):
        """Runs to its end; the text that it wrote. Its environment is PATH and what is given."""
        environment = {"PATH": os.environ["PATH"], "HOME": self.place, "TMPDIR": self.place, "LANG": "C.UTF-8", **more}
        log = os.path.join(self.world.scratch, "log")
        with open(log, "wb") as output:
            began = time.monotonic()
            child = subprocess.Popen(command, cwd=self.place, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=subprocess.STDOUT)
            over = threading.Event()
            watch = threading.Thread(target=self._watch, args=(child.pid, over))
            watch.start()
            _, status, usage = os.wait4(child.pid, 0)
            self.found["wall"] += time.monotonic() - began
            over.set()
            watch.join()
        child.returncode = os.waitstatus_to_exitcode(status)
        self.found["cpu"] += usage.ru_utime + usage.ru_stime
        self.found["disk"] = max(self.found["disk"], disk(self.place))
        with open(log, errors="replace") as file:
            said = file.read()
        if child.returncode != 0:
            last = " | ".join(said.strip().splitlines()[-3:])[-600:]
            raise Failed(f"`{os.path.basename(command[0])}` ended with {child.returncode}: {last}")
        return said

    def _watch(self, root, over):
        while not over.wait(PAUSE):
            held = sum(resident(pid) for pid in family(root))
            self.found["memory"] = max(self.found["memory"], held)

    def __exit__(self, kind, *_):
        if kind is None:
            self.found["wire"] = self.world.wire() - self.wire
            self.found["requests"] = self.world.requests() - self.requests
            self.found["stored"] = self.world.stored() - self.stored
            self.found["window"], self.found["beyond"] = window(self.world.journal, self.journal)
        return False


def family(pid):
    """A process and all below it."""
    found = [pid]
    for each in found:
        try:
            for task in os.listdir(f"/proc/{each}/task"):
                with open(f"/proc/{each}/task/{task}/children") as file:
                    found += [int(child) for child in file.read().split()]
        except OSError:
            pass
    return found


def resident(pid):
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def disk(directory):
    """Allocated bytes below it; an empty one has none."""
    empty = int(output("stat", "-c", "%b", directory)) * 512
    return int(output("du", "-s", "-B1", directory).split()[0]) - empty


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout


def window(journal, offset):
    """Seconds from the first script's start to the last unlock's end, and how many of them no script ran in."""
    spans, running = [], {}
    with open(journal) as file:
        file.seek(offset)
        for line in file:
            event = json.loads(line)
            if event.get("script") not in WINDOW:
                continue
            key = (event["instance"], event["job"], event["script"], event["pid"])
            if event["event"] == "start":
                running[key] = event["us"]
            elif event["event"] == "end":
                spans.append((running.pop(key), event["us"], event["script"]))
    if not spans:
        return None, None
    last = WINDOW[2] if any(script == WINDOW[2] for _, _, script in spans) else WINDOW[1]
    begin, end = min(span[0] for span in spans), max(span[1] for span in spans if span[2] == last)
    busy, reached = 0, begin
    for start, stop, _ in sorted(spans):
        busy += max(0, min(stop, end) - max(start, reached))
        reached = max(reached, stop)
    return (end - begin) / 1e6, (end - begin - busy) / 1e6


def upload_time(log):
    """Seconds of the phase `upload` in the log of a restore, which says `2.5 s`, `1 min 04 s`, `1 h 02 min`; None without one."""
    found = re.search(r"\bphases of .*\bupload ((?:[\d.]+ (?:h|min|s)\b ?)+)", log)
    if not found:
        return None
    units = {"s": 1, "min": 60, "h": 3600}
    words = found.group(1).split()
    return sum(float(number) * units[unit] for number, unit in zip(words[::2], words[1::2]))
