"""What is backed up: content that is made the same way each time, and 1 % of it changed.

Content lies on the instance's disk below /var/vcap/store/content; its backup script links it into the artifact, as the Cloud
Controller's blobstore does (`cp --recursive --link`), so that the script itself takes next to no time.
"""

import os
import random
import shutil
from concurrent.futures import ProcessPoolExecutor

MIB = 1 << 20
LINK = 'cp --recursive --link /var/vcap/store/content/. "$BBR_ARTIFACT_DIRECTORY"/'
# What is measured is the way there, not what a script does with it.
LOOK = 'test -n "$(ls "$BBR_ARTIFACT_DIRECTORY")"'
REGIONS = 16  # of each dump, that 1 % of its bytes are changed in


class Workload:
    """One deployment. `make` writes its content below a directory, `change` changes 1 % of it."""

    instances = 1

    def __init__(self, name, title):
        self.name, self.title = name, title

    def deployment(self):
        scripts = {"backup": {"body": LINK}, "restore": LOOK}
        return {"name": self.name, "groups": [{"name": "g", "instances": self.instances, "jobs": {
            "content": {"release": "r", "scripts": scripts}}}]}

    def make(self, directory):
        raise NotImplementedError

    def change(self, directory, seed):
        raise NotImplementedError


class Files(Workload):
    """`count` files of about `size` bytes together; each either cannot be compressed or, one in `text_every`, is text."""

    def __init__(self, name, title, count, size, text_every=0):
        super().__init__(name, title)
        self.count, self.mean, self.text_every = count, max(1, size // count), text_every

    def path(self, at):
        return f"cc-droplets/{at // 10000:02}/{at // 100 % 100:02}/{at:08}"

    def content(self, at, seed):
        draw = random.Random(f"{seed} {at}")
        size = int(self.mean * draw.uniform(0.2, 1.8))
        if self.text_every and at % self.text_every == 0:
            line = f"line of a text that says {draw.getrandbits(64):x}\n".encode()
            return (line * (size // len(line) + 1))[:size]
        return draw.randbytes(size)

    def write(self, directory, at, seed):
        place = os.path.join(directory, self.path(at))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        replace(place, [self.content(at, seed)])

    def make(self, directory):
        for at in range(self.count):
            self.write(directory, at, 0)

    def change(self, directory, seed):
        for at in random.Random(seed).sample(range(self.count), max(1, self.count // 100)):
            self.write(directory, at, seed)


class Dumps(Workload):
    """SQL dumps, a file for each database. One in `changed_of` changes: 1 % of its bytes, in REGIONS runs of rows that become a
    little longer or shorter, so that what follows moves."""

    def __init__(self, name, title, size, count, changed_of):
        super().__init__(name, title)
        self.count, self.each, self.changed_of = count, size // count, changed_of

    def make(self, directory):
        os.makedirs(directory, exist_ok=True)
        with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
            for done in [pool.submit(make_dump, os.path.join(directory, f"db{at}.sql"), at, self.each) for at in range(self.count)]:
                done.result()

    def change(self, directory, seed):
        for at in random.Random(seed).sample(range(self.count), max(1, self.count // self.changed_of)):
            change_dump(os.path.join(directory, f"db{at}.sql"), random.Random(f"{seed} {at}"))


def rows(draw, number, wanted):
    """At least `wanted` bytes of rows, from the row of this number on."""
    lines, have = [], 0
    while have < wanted:
        noise = draw.randbytes(24).hex()
        line = (f"INSERT INTO `events` VALUES ({number},'{noise[:8]}-{noise[8:12]}-4{noise[12:15]}-9{noise[15:18]}-{noise[18:30]}',"
                f"'2026-{number // 90000 % 12 + 1:02}-{number // 3000 % 28 + 1:02} {number // 3600 % 24:02}:{number // 60 % 60:02}:"
                f"{number % 60:02}','audit.app.update','app','{noise[30:]}','{{\"state\":\"STARTED\",\"instances\":{number % 7}}}');\n")
        lines.append(line)
        have += len(line)
        number += 1
    return "".join(lines).encode()


def make_dump(place, seed, size):
    draw, number = random.Random(f"dump {seed}"), 0
    with open(place, "wb") as file:
        while file.tell() < size:
            piece = rows(draw, number, MIB)
            number += piece.count(b"\n")
            file.write(piece)


def change_dump(place, draw):
    size = os.path.getsize(place)
    length = max(1, size // 100 // REGIONS)
    starts = sorted(draw.sample(range(0, size - length, length), min(REGIONS, max(1, size // length - 1))))

    def pieces():
        with open(place, "rb") as file:
            for start in starts:
                while file.tell() < start:
                    yield file.read(min(MIB, start - file.tell()))
                yield file.readline()
                file.seek(start + length)
                file.readline()
                yield rows(draw, start, length + draw.randrange(-length // 8, length // 8 + 1))
            while piece := file.read(MIB):
                yield piece

    replace(place, pieces())


class NoOp(Workload):
    """Instances whose scripts do nothing: what remains is the tool's own time."""

    def __init__(self, name, title, instances):
        super().__init__(name, title)
        self.instances = instances

    def deployment(self):
        scripts = {"pre-backup-lock": ":", "post-backup-unlock": ":", "restore": ":",
                   "backup": {"body": 'echo content > "$BBR_ARTIFACT_DIRECTORY"/file'}}
        return {"name": self.name, "groups": [{"name": "g", "instances": self.instances, "jobs": {
            "noop": {"release": "r", "scripts": scripts}}}]}

    def make(self, directory):
        pass


def replace(place, pieces):
    """A new file, so that what is linked elsewhere stays as it was."""
    with open(place + ".new", "wb") as file:
        for piece in pieces:
            file.write(piece)
    os.replace(place + ".new", place)


def workloads(options):
    size, files = options.size, options.files
    daily = options.daily_size or size // 8
    return [
        Files("blobs", f"{spoken(size)} of blobs that cannot be compressed, {options.blobs:,} files", options.blobs, size),
        Dumps("dumps", f"{spoken(size)} of SQL dumps, 100 files", size, 100, 100),
        Files("small", f"{files:,} small files, half of them text", files, files * 2000, text_every=2),
        NoOp("lock", f"{options.instances} instances with scripts that do nothing", options.instances),
        Files("daily-blobs", f"ten daily backups of {spoken(daily)} of blobs, 1 % changed each day", max(100, options.blobs // 8), daily),
        Dumps("daily-dumps", f"ten daily backups of {spoken(daily)} of SQL dumps, 4 files, 1 % of the rows of each changed each day", daily, 4, 1),
    ]


def spoken(size):
    for unit, name in ((1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} B"


def clear(directory):
    shutil.rmtree(directory, ignore_errors=True)
