"""The scratch foundation and its S3 server, in a network namespace of their own."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from measure import output

HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(HOME, "target/tools/bin")


def program(name):
    """$BBR and the like, else what lies in target/tools/bin, else one on PATH; None when there is none."""
    built = os.path.join(TOOLS, name)
    return os.environ.get(name.upper()) or (built if os.path.exists(built) else shutil.which(name))


class Disk:
    """A file system of the bench's own in a file, mounted at `place`: empty at the beginning, and with a journal, as a stemcell's
    persistent disk has. (Without one ext4 looks at every inode deleted within five minutes before it takes a new one, so that a
    run would pay for the deletes of the one before.)"""

    missing = None  # why there is none

    def __init__(self, place, size):
        self.place = place
        try:
            self._mount(size)
        except (OSError, subprocess.CalledProcessError) as error:
            # A container without loop devices: then it measures what is there.
            self.missing = str(error)
            print(f"bench: no file system of its own ({error}); what ran before may show in the times", file=sys.stderr, flush=True)

    def _mount(self, size):
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(self.place)) as file:
            file.truncate(size)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-i", "8192", file.name], check=True)
            # Without direct I/O each page would be cached twice.
            loop = output("losetup", "--find", "--show", "--direct-io=on", file.name).strip()
            if not loop:
                raise OSError("losetup gives no loop device")
            try:
                subprocess.run(["mount", "-o", "noatime,noinit_itable", loop, self.place], check=True)
            finally:
                # Both go with the mount, however the bench ends.
                subprocess.run(["losetup", "--detach", loop], check=True)

    def close(self):
        if not self.missing:
            subprocess.run(["umount", "--lazy", self.place], check=False)


class World:
    """Ready when made. `deployments` as in the foundation's spec."""

    def __init__(self, deployments, place, size):
        self.scratch = tempfile.mkdtemp(prefix="lb-", dir=place)
        self.disk = Disk(self.scratch, size)
        os.chmod(self.scratch, 0o755)
        self.log = os.path.join(self.scratch, "requests.log")
        open(self.log, "w").close()
        spec = {"director": {}, "deployments": deployments, "stores": ["s3"]}
        self.foundation = subprocess.Popen(
            [sys.executable, os.path.join(HOME, "tests/foundation/foundation.py"), "serve", "--spec", "-",
             "--dir", os.path.join(self.scratch, "f")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}", "VGW_ACCESS_LOG": self.log})
        self.foundation.stdin.write(json.dumps(spec) + "\n")
        self.foundation.stdin.flush()
        line = self.foundation.stdout.readline()
        self.ready = json.loads(line) if line else {"ready": False, "error": "it said nothing"}
        if not self.ready["ready"]:
            self.disk.close()
            shutil.rmtree(self.scratch, ignore_errors=True)
            sys.exit(f"the scratch foundation did not start: {self.ready['error']}")
        self.journal, self.store = self.ready["journal"], self.ready["stores"]["s3"]
        self.director = self.ready["director"]
        for instance in self.ready["instances"].values():
            for way in ("--sport", "--dport"):
                subprocess.run(["iptables", "-A", "INPUT", "-p", "tcp", way, str(instance["port"])], check=True)

    def instances(self, deployment):
        return [each for key, each in self.ready["instances"].items() if key.startswith(deployment + "/")]

    def content(self, deployment):
        return os.path.join(self.instances(deployment)[0]["root"], "var/vcap/store/content")

    def wire(self):
        """Bytes that went over SSH so far."""
        listed = subprocess.run(["iptables", "-nvxL", "INPUT"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return sum(int(line.split()[1]) for line in listed.splitlines() if re.match(r" *\d", line))

    def requests(self):
        """Requests that the store answered so far."""
        with open(self.log, "rb") as file:
            return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))

    def stored(self):
        said = subprocess.run(["du", "-sb", os.path.join(self.store["directory"], self.store["buckets"][0])],
                              stdout=subprocess.PIPE, text=True, check=True).stdout
        return int(said.split()[0])

    def empty_store(self):
        bucket = os.path.join(self.store["directory"], self.store["buckets"][0])
        for name in os.listdir(bucket):
            place = os.path.join(bucket, name)
            if os.path.isdir(place):
                shutil.rmtree(place)
            else:
                os.unlink(place)

    def close(self):
        self.foundation.stdin.close()
        self.foundation.wait()
        self.disk.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
