"""The director's database and its blobstore: rows as plain values, which a backup script can dump and a restore script
can put back while the director runs.

With a director host both lie on its persistent disk: DUMP is the live database (JSON, one row a line), written whole at
every change and read again when somebody else replaced it; BLOBS is the blobstore. Without a host they are in memory.
"""

import contextlib
import json
import os
import shutil
import threading
import time
import uuid

DUMP = "/var/vcap/store/director-database/dump"
BLOBS = "/var/vcap/store/blobstore/store"
LISTS = ("instances", "releases", "stemcells", "configs", "orphan_disks", "orphaned_vms", "problems", "tasks")


def stamp(seconds=None):
    """A time as the director prints those of its rows."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


class Database:
    def __init__(self, owner="vcap"):
        self.lock = threading.RLock()
        self.owner, self.path, self.seen = owner, None, None
        self.loaded = lambda: None  # called after somebody else's rows were read
        self.rows = {"uuid": str(uuid.uuid4()), "resurrection_paused": False, "counters": {}, "locks": {},
                     "deployments": {}, **{name: [] for name in LISTS}}

    def __getitem__(self, table):
        self.refresh()
        return self.rows[table]

    def __setitem__(self, table, value):
        self.rows[table] = value

    @contextlib.contextmanager
    def change(self):
        with self.lock:
            self.refresh()
            yield self.rows
            self.save()

    def next_id(self, counter):
        with self.lock:
            counters = self.rows["counters"]
            counters[counter] = counters.get(counter, 0) + 1
            return counters[counter]

    def attach(self, path):
        """From now on the rows lie in this file."""
        with self.lock:
            self.path = path
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.exists(path):
                self.refresh()
            else:
                self.save()

    def save(self):
        if self.path is None:
            return
        lines = [json.dumps({"table": "director", "row": {name: self.rows[name] for name in (
            "uuid", "resurrection_paused", "counters", "locks")}}, sort_keys=True)]
        lines += [json.dumps({"table": "deployments", "row": row}, sort_keys=True)
                  for _name, row in sorted(self.rows["deployments"].items())]
        lines += [json.dumps({"table": name, "row": row}, sort_keys=True) for name in LISTS for row in self.rows[name]]
        temporary = f"{self.path}.new"
        with open(temporary, "w") as file:
            file.write("\n".join(lines) + "\n")
        os.chmod(temporary, 0o600)
        os.rename(temporary, self.path)
        self.seen = self._stamp()

    def _stamp(self):
        try:
            about = os.stat(self.path)
        except OSError:
            return None
        return about.st_ino, about.st_mtime_ns, about.st_size

    def refresh(self):
        """Reads the file when it is not the one that was written last."""
        if self.path is None:
            return
        with self.lock:
            now = self._stamp()
            if now == self.seen:
                return
            if now is None:  # the disk was lost, a process still has its tables in memory
                self.save()
                return
            with open(self.path) as file:
                text = file.read()
            rows = {"deployments": {}, **{name: [] for name in LISTS}}
            for line in text.splitlines():
                entry = json.loads(line)
                if entry["table"] == "director":
                    rows.update(entry["row"])
                elif entry["table"] == "deployments":
                    rows["deployments"][entry["row"]["name"]] = entry["row"]
                else:
                    rows[entry["table"]].append(entry["row"])
            self.rows, self.seen = rows, now
            self.loaded()

    # -- rows that belong together ------------------------------------------------------------------------

    def instances_of(self, deployment):
        return [row for row in self["instances"] if row["deployment"] == deployment]

    def by_id(self, table, number):
        return next((row for row in self[table] if row["id"] == number), None)

    def disk(self, number):
        """(instance row, disk row) of a persistent disk."""
        for row in self["instances"]:
            for disk in row["disks"]:
                if disk["id"] == number:
                    return row, disk
        return None, None

    def close_problems(self, deployment):
        for problem in self.rows["problems"]:
            if problem["deployment"] == deployment and problem["state"] == "open":
                problem["state"] = "closed"


class Blobstore:
    """Blobs by id; in memory until it is given a directory."""

    def __init__(self):
        self.blobs, self.place = {}, None

    def attach(self, place):
        self.place = place
        os.makedirs(place, exist_ok=True)
        for name, content in self.blobs.items():
            self._write(name, content)
        self.blobs = {}

    def _path(self, name):
        return f"{self.place}/{name[:2]}/{name}"

    def _write(self, name, content):
        os.makedirs(os.path.dirname(self._path(name)), mode=0o700, exist_ok=True)
        with open(self._path(name), "wb") as file:
            file.write(content)
        os.chmod(self._path(name), 0o600)

    def put(self, content):
        name = str(uuid.uuid4())
        if self.place is None:
            self.blobs[name] = content
        else:
            self._write(name, content)
        return name

    def get(self, name):
        """None when it is not there."""
        if self.place is None:
            return self.blobs.get(name)
        try:
            with open(self._path(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def clear(self):
        self.blobs = {}
        if self.place:
            shutil.rmtree(self.place, ignore_errors=True)
            os.makedirs(self.place)
