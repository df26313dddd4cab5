"""A small writer of repository format 1, made from docs/format.md alone.

It shares no code with Lifeboat or recover.py, calls `age`, `zstd` and `ssh-keygen`, and lets a test
change every line, page, root and manifest before it is sealed and signed, so that what lies *under*
a good signature can be wrong too. Content is not cut by content here: a reader cannot tell.
"""

import base64
import hashlib
import json
import os
import random
import subprocess
import tarfile


def run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError("%s: %s" % (command[0], done.stderr.decode()))
    return done.stdout


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def age_identity():
    """(identity, recipient)"""
    identity = run("age-keygen").decode().strip().splitlines()[-1]
    return identity, run("age-keygen", "-y", stdin=identity.encode() + b"\n").decode().strip()


def worker_identity(folder, name="worker"):
    """Path of a new OpenSSH key; its public half lies beside it."""
    path = os.path.join(folder, name)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path)
    return path


def public_key(path):
    with open(path + ".pub") as file:
        return file.read().strip()


def zstd(data, *options):
    return run("zstd", "-q", "-c", *options, stdin=data)


def age(data, *recipients, armor=False):
    options = ["-a"] if armor else []
    for recipient in recipients:
        options += ["-r", recipient]
    return run("age", "-e", *options, stdin=data)


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


class Chain:
    def __init__(self, store, foundation, recipients, worker=None, chain_id=None):
        self.store = store
        self.foundation = foundation
        self.id = chain_id or "%016x" % random.getrandbits(64)
        self.worker = worker
        self.started = "2026-11-22T01:00:07Z"
        data_identity, self.data_recipient = age_identity()
        index_identity, self.index_recipient = age_identity()
        self.opened = ("# lifeboat chain keys\n# format: 1\n# foundation: %s\n# chain: %s\n"
                       "# data\n%s\n# index\n%s\n"
                       % (foundation, self.id, data_identity, index_identity)).encode()
        self.folder = os.path.join(store, foundation, "chains", self.id)
        os.makedirs(self.folder)
        self.recovery_age = age(self.opened, *recipients, armor=True)
        self.put_plain("recovery.age", self.recovery_age)
        self.worker_age = None
        if worker:
            self.worker_age = age(compact({
                "format": 1, "foundation": foundation, "chain": self.id, "started": self.started,
                "data_recipient": self.data_recipient, "index_identity": index_identity,
                "seed": "%032x" % random.getrandbits(128), "recipients": list(recipients),
            }), public_key(worker))
            self.put_plain("worker.age", self.worker_age)
        self.chunks = {}    # SHA-256 of plain bytes -> row of a page's table

    def put_plain(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)

    def put(self, kind, sealed):
        name = sha256(sealed)
        os.makedirs(os.path.join(self.folder, kind, name[:2]), exist_ok=True)
        with open(self.path(kind, name), "wb") as file:
            file.write(sealed)
        return name

    def path(self, kind, name):
        return os.path.join(self.folder, kind, name[:2], name)

    def chunk(self, plain):
        digest = sha256(plain)
        if digest not in self.chunks:
            sealed = age(zstd(plain, "-1"), self.data_recipient)
            self.chunks[digest] = [self.put("data", sealed), digest, len(plain)]
        return self.chunks[digest]

    def index(self, lines):
        """Seals lines (objects, or bytes as they are) as a root or page."""
        plain = b"".join(line if isinstance(line, bytes) else compact(line) for line in lines)
        return self.put("index", age(zstd(plain), self.index_recipient))


class ArtifactWriter:
    """Turns entries into pages, a root and the manifest's record of the artifact."""

    def __init__(self, chain, component, name, form, bbr=None, chunk_size=256 * 1024,
                 lines_per_page=1000, parts_per_line=1000,
                 edit_page=None, edit_root=None, edit_entry=None):
        self.chain, self.component, self.name, self.form, self.bbr = \
            chain, component, name, form, bbr
        self.chunk_size, self.lines_per_page, self.parts_per_line = \
            chunk_size, lines_per_page, parts_per_line
        self.edit_page = edit_page or (lambda kind, number, lines: lines)
        self.edit_root = edit_root or (lambda lines: lines)
        self.edit_entry = edit_entry or (lambda entry: entry)
        self.pending = []      # small files of the coming chunk: (digest, length)
        self.pack = b""
        self.files = []        # (entry, [(row, offset, length)])
        self.others = []
        self.bytes = 0

    def flush(self):
        if self.pack:
            row = self.chain.chunk(self.pack)
            for pieces, offset, length in self.pending:
                pieces.append((row, offset, length))
        self.pack, self.pending = b"", []

    def file(self, head, content, size):
        """`content`: bytes, or a file object that stands at the content."""
        digest = hashlib.sha256()
        pieces = []
        self.bytes += size
        if size < self.chunk_size:
            data = content if isinstance(content, bytes) else content.read(size)
            digest.update(data)
            if len(self.pack) + size > self.chunk_size:
                self.flush()
            if size:
                self.pending.append((pieces, len(self.pack), size))
                self.pack += data
        else:
            self.flush()
            left = size
            while left:
                data = content[size - left:size - left + self.chunk_size] \
                    if isinstance(content, bytes) else content.read(min(left, self.chunk_size))
                digest.update(data)
                pieces.append((self.chain.chunk(data), 0, len(data)))
                left -= len(data)
        entry = {"head": base64.b64encode(head).decode(), "sha256": digest.hexdigest(),
                 "size": size}
        self.files.append((entry, pieces))

    def other(self, head):
        self.others.append({"head": base64.b64encode(head).decode(), "at": len(self.files)})

    def finish(self, zeros):
        self.flush()
        lines = []    # (entry without parts, pieces)
        for entry, pieces in self.files:
            groups = [pieces[i:i + self.parts_per_line]
                      for i in range(0, len(pieces), self.parts_per_line)] or [[]]
            for number, group in enumerate(groups):
                line = dict(entry) if number == 0 else {}
                if number < len(groups) - 1:
                    line["more"] = True
                lines.append((line, group))
        root = [{"format": 1, "component": self.component, "artifact": self.name,
                 "form": self.form, "files": len(self.files), "others": len(self.others),
                 "bytes": self.bytes, "zeros": zeros}]
        if self.bbr:
            root[0]["bbr"] = self.bbr
        step = self.lines_per_page
        for number, start in enumerate(range(0, len(lines), step)):
            table, rows, page, size = [], {}, [], 0
            for line, group in lines[start:start + step]:
                parts = []
                for row, offset, length in group:
                    if row[0] not in rows:
                        rows[row[0]] = len(table)
                        table.append(row)
                    parts.append([rows[row[0]], offset, length])
                    size += length
                page.append(self.edit_entry(dict(line, parts=parts)))
            self.page(root, "files", number, [{"chunks": table}] + page, len(page), size)
        for number, start in enumerate(range(0, len(self.others), step)):
            page = self.others[start:start + step]
            self.page(root, "others", number, [{"chunks": []}] + page, len(page), 0)
        return {"name": self.name, "form": self.form,
                "root": self.chain.index(self.edit_root(root)),
                "files": len(self.files), "bytes": self.bytes}

    def page(self, root, kind, number, lines, entries, size):
        lines = self.edit_page(kind, number, lines)
        root.append({"page": self.chain.index(lines), "kind": kind, "entries": entries,
                     "bytes": size, "list": ""})


def write_tar(chain, component, name, path, form="tar", **options):
    """Stores a tar file that a real tar made."""
    writer = ArtifactWriter(chain, component, name, form, **options)
    with open(path, "rb") as raw:
        end = 0
        with tarfile.open(path, "r:", errors="surrogateescape") as tar:
            for member in tar:
                raw.seek(member.offset)
                head = raw.read(member.offset_data - member.offset)
                if member.isreg():
                    writer.file(head, raw, member.size)
                    end = member.offset_data + member.size + -member.size % 512
                else:
                    writer.other(head)
                    end = member.offset_data
        raw.seek(0, os.SEEK_END)
        return writer.finish(raw.tell() - end)


def write_file(chain, component, name, content, **options):
    writer = ArtifactWriter(chain, component, name, "file", **options)
    writer.file(b"", content, len(content))
    return writer.finish(0)


def manifest(chain, components, backup_id, **changes):
    """`components`: {name: [records of artifacts]}."""
    value = {
        "format": 1, "id": backup_id, "foundation": chain.foundation, "outcome": "complete",
        "started": "2026-11-22T01:00:00Z", "finished": "2026-11-22T01:02:03Z",
        "release": "lifeboat 1.0.0",
        "chain": {"id": chain.id, "started": chain.started, "recovery": sha256(chain.recovery_age),
                  "keys": sha256(chain.opened)},
        "recovery_age": chain.recovery_age.decode(),
        "components": [{"name": name, "started": "2026-11-22T01:00:08Z",
                        "finished": "2026-11-22T01:02:01Z",
                        "phases": [{"name": "lock", "ms": 1200}], "artifacts": artifacts}
                       for name, artifacts in components.items()],
        "drained_bytes": 1, "new_bytes": 1, "stored_bytes": 1, "new_objects": 1,
        "stores": ["one"],
    }
    if chain.worker_age:
        value["chain"]["worker"] = sha256(chain.worker_age)
    value.update(changes)
    return value


def sign(line, key):
    return run("ssh-keygen", "-q", "-Y", "sign", "-n", "lifeboat", "-f", key, stdin=line).decode()


def commit(chain, value, signer=None, name=None, line=None):
    """Writes the manifest and returns its path. `line` replaces the first line's bytes."""
    line = compact(value) if line is None else line
    data = line
    if signer:
        data += compact({"signature": sign(line, signer)})
    folder = os.path.join(chain.store, chain.foundation, "backups")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, (name or value["id"]) + ".json")
    with open(path, "wb") as file:
        file.write(data)
    return path
