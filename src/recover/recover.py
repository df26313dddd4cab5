#!/usr/bin/env python3
"""Recovers a Lifeboat backup without Lifeboat: Python 3.8 or newer, `age` and `zstd`.

Compare the SHA-256 of this file with the recovery sheet before you run it. RECOVERY.md, stored
beside it, goes through the whole worst day step by step.

  recover.py list    --store DIR... [--foundation NAME] [--trusted KEY...]
  recover.py show    --store DIR... --foundation NAME [--backup ID] [--trusted KEY...]
  recover.py recover --store DIR... --foundation NAME --backup ID|latest --component NAME
                     --keys keys.txt [--trusted KEY...] [--artifact GLOB...] --to OUTDIR

A store is a directory: a mounted store or a copy of the bucket, from its prefix down. With several,
each object comes from the first store that has it undamaged. keys.txt is what the chain's
recovery.age opens to (- reads it from standard input), never a recovery key. KEY is a worker's
public key ('ssh-ed25519 AAAA...') or a file of such lines; with it, only what that worker signed is
used.

How to read this file, top to bottom: words for failures; JSON that may be hostile; stores; opening
sealed objects; manifests; the index; chunks; tar heads; what is written; bbr's metadata; commands.
docs/format.md is the law; "must" there is a Refused here. Everything read is bounded before it is
kept, and nothing is believed but what a chain of SHA-256 leads to.
"""

import argparse
import base64
import binascii
import collections
import concurrent.futures
import datetime
import fnmatch
import hashlib
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

FORMAT = 1
MIB = 1024 * 1024
MANIFEST_LIMIT = 4 * MIB    # docs/format.md, "Limits of a reader"
ROOT_LIMIT = 64 * MIB
PAGE_LIMIT = 8 * MIB
LINE_LIMIT = 1 * MIB        # of roots and pages
CHUNK_LIMIT = 16 * MIB
SEALED_EXTRA = 64 * 1024    # a sealed object may be this much longer than its opened limit
HEAD_LIMIT = 256 * 1024     # header blocks in front of one content
KEYS_LIMIT = 64 * 1024
NUMBER_LIMIT = 2 ** 63
KEPT_CHUNKS = 32 * MIB      # opened chunks kept because neighbouring files often share them

FOUNDATION = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}\Z")
SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
BACKUP_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\Z")
CHAIN_ID = re.compile(r"[0-9a-f]{16}\Z")
DIGEST = re.compile(r"[0-9a-f]{64}\Z")
TIME = re.compile(r"(?:19[7-9]|[2-9][0-9]{2})[0-9]-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")
IDENTITY = re.compile(r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}\Z")
PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{20,200}={0,2}( .*)?\Z")


# ---------------------------------------------------------------------------- words for failures

class Refused(Exception):
    """What is wrong with which object, and what to do now."""

    def __init__(self, why, advice="keep the stores as they are, and recover another backup or "
                                   "add a --store that holds a good copy"):
        super().__init__(why)
        self.why = why
        self.advice = advice


class NotOurs(Refused):
    """A manifest that no trusted worker made for this name."""


def shown(value):
    """Any text or bytes, safe for a terminal, on one line, not endless."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[:400]).decode("utf-8", "backslashreplace")
    value = "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in value[:400])
    return value if len(value) <= 300 else value[:300] + "..."


def say(text):
    print(text, flush=True)


# ---------------------------------------------------------------------- JSON that may be hostile

def parse_json(line, what):
    """One line as a JSON object: no key twice, no NaN, whole numbers of at most 19 digits."""
    def once(pairs):
        value = dict(pairs)
        if len(value) != len(pairs):
            raise Refused("%s says the same key twice" % what)
        return value

    def no_constant(_):
        raise Refused("%s holds a number that JSON does not have" % what)

    try:
        value = json.loads(
            line.decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant,
            # None is no number: it is refused where a number is needed and harmless elsewhere.
            parse_int=lambda digits: int(digits) if len(digits) <= 19 else None,
            parse_float=lambda _: None)
    except UnicodeDecodeError:
        raise Refused("%s is not UTF-8" % what) from None
    except RecursionError:
        raise Refused("%s is nested too deeply" % what) from None
    except ValueError:
        raise Refused("%s is not JSON" % what) from None
    if type(value) is not dict:
        raise Refused("%s is not a JSON object" % what)
    return value


def text(value, key, what, pattern=None, limit=4096):
    found = value.get(key)
    if type(found) is not str or len(found) > limit or "\0" in found:
        raise Refused("%s has no proper \"%s\"" % (what, key))
    if pattern is not None and not pattern.match(found):
        raise Refused("%s has the forbidden %s \"%s\"" % (what, key, shown(found)))
    return found


def number(value, key, what, most=NUMBER_LIMIT):
    found = value.get(key)
    if type(found) is not int or not 0 <= found <= most:
        raise Refused("%s has no proper \"%s\"" % (what, key))
    return found


def items(value, key, what, kind=dict):
    found = value.get(key)
    if type(found) is not list or not all(type(item) is kind for item in found):
        raise Refused("%s has no proper \"%s\"" % (what, key))
    return found


def moment(value, key, what):
    """A time in RFC 3339, UTC, to the second."""
    found = text(value, key, what, TIME)
    try:
        datetime.datetime.strptime(found, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise Refused("%s has no proper \"%s\"" % (what, key)) from None
    return found


def check_format(value, what):
    found = number(value, "format", what)
    if found == FORMAT:
        return
    release = value.get("release")
    by = shown(release) if type(release) is str else "a newer release"
    raise Refused("%s has format %d and this script reads format %d" % (what, found, FORMAT),
                  "use the recover.py of the release that wrote it (%s) or of a later one" % by)


def lines_of(data, what):
    """The lines of a root or page; each must end with a newline and be at most 1 MiB."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start, start + LINE_LIMIT)
        if end < 0:
            raise Refused("%s has a line of more than 1 MiB or without its end" % what)
        yield data[start:end]
        start = end + 1


# ---------------------------------------------------------------------------------------- stores

def read_file(path, limit):
    """At most `limit` bytes of a regular file; never waits for a FIFO or device."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Refused("is not a plain file")
        if os.fstat(fd).st_size > limit:
            raise Refused("is larger than a reader allows (%d bytes)" % limit)
        parts, left = [], limit + 1
        while left > 0:
            part = file.read(min(left, 4 * MIB))
            if not part:
                break
            parts.append(part)
            left -= len(part)
    if left <= 0:
        raise Refused("is larger than a reader allows (%d bytes)" % limit)
    return b"".join(parts) if len(parts) != 1 else parts[0]


class Stores:
    """Several directories that should hold the same objects."""

    def __init__(self, paths):
        for path in paths:
            if not os.path.isdir(path):
                raise Refused("the store %s is not a directory" % shown(path),
                              "copy the bucket into a directory first, or mount the store")
        self.paths = paths
        self.lock = threading.Lock()
        self.passed_over = 0
        self.first_passed_over = None

    def names(self, folder):
        """The names in a folder of any store, with the stores that have them."""
        found = {}
        for path in self.paths:
            try:
                for name in os.listdir(os.path.join(path, folder)):
                    found.setdefault(name, []).append(path)
            except (FileNotFoundError, NotADirectoryError):
                pass
        return found

    def try_each(self, name, limit, use):
        """`use(bytes)` of the first copy that it does not refuse."""
        wrong = []
        refusals = []
        for path in self.paths:
            try:
                result = use(read_file(os.path.join(path, name), limit))
            except FileNotFoundError:
                wrong.append("is missing in %s" % shown(path))
            except OSError as error:
                wrong.append("cannot be read in %s (%s)" % (shown(path), error.strerror))
            except Refused as refusal:
                refusals.append(refusal)
                wrong.append("in %s %s" % (shown(path), refusal.why))
            else:
                if wrong:
                    with self.lock:
                        self.passed_over += 1
                        self.first_passed_over = self.first_passed_over or \
                            "%s %s" % (shown(name), wrong[0])
                return result
        why = "%s %s" % (shown(name), ", ".join(wrong))
        if refusals and all(isinstance(refusal, NotOurs) for refusal in refusals):
            raise NotOurs(why, refusals[0].advice)
        if refusals:
            raise Refused(why, refusals[0].advice)
        raise Refused(why, "copy it again from the bucket, or add a --store that has it")

    def addressed(self, folder, digest, limit):
        """An object whose name is the SHA-256 of its bytes."""
        def check(data):
            if hashlib.sha256(data).hexdigest() != digest:
                raise Refused("is damaged or was replaced (its bytes do not have the SHA-256 that "
                              "is its name)", "copy it again from the bucket, or add a --store "
                                              "that has it undamaged")
            return data
        return self.try_each("%s/%s/%s" % (folder, digest[:2], digest),
                             limit + SEALED_EXTRA, check)


# ------------------------------------------------------------------------ opening sealed objects

class Keys:
    """The chain's two identities: the first opens chunks, the second roots and pages."""

    def __init__(self, path, manifest):
        what = "the keys file %s" % shown(path)
        again = ("open the recovery.age of chain %s, or the text \"recovery_age\" in the manifest, "
                 "again with your recovery key: age -d -i RECOVERY_KEY" % manifest.chain)
        try:
            data = sys.stdin.buffer.read(KEYS_LIMIT) if path == "-" else read_file(path, KEYS_LIMIT)
            lines = data.decode("ascii").splitlines()
        except OSError as error:
            raise Refused("%s cannot be read (%s)" % (what, error.strerror), again) from None
        except Refused as refusal:
            raise Refused("%s %s" % (what, refusal.why), again) from None
        except UnicodeDecodeError:
            raise Refused("%s is not an opened recovery.age" % what, again) from None
        stated = {}
        identities = []
        for line in lines:
            match = re.match(r"# (format|foundation|chain): (.*)\Z", line)
            if match:
                stated.setdefault(match.group(1), match.group(2))
            elif line and not line.startswith("#"):
                identities.append(line)
        for identity in identities:
            if not IDENTITY.match(identity):
                raise Refused("%s holds something other than AGE-SECRET-KEY-1 identities, which "
                              "could make age run a stranger's program" % what, again)
        if len(identities) == 1 and not stated:
            raise Refused("%s looks like a recovery key, which this script must not be given"
                          % what, again)
        if len(identities) != 2:
            raise Refused("%s holds %d identities where a chain has exactly two"
                          % (what, len(identities)), again)
        for key, expected in (("format", str(FORMAT)), ("foundation", manifest.foundation),
                              ("chain", manifest.chain)):
            if stated.get(key) != expected:
                raise Refused("%s is for %s %s, but the backup has %s"
                              % (what, key, shown(stated.get(key, "nothing")), expected), again)
        if hashlib.sha256(data).hexdigest() != manifest.keys:
            raise Refused("%s is not what the manifest of %s says its recovery.age opens to (it "
                          "was edited, or recovery.age was replaced by somebody)"
                          % (what, manifest.id), again)
        self.data, self.index = (identity.encode() + b"\n" for identity in identities)


def unseal(sealed, key, limit, what):
    """age -d | zstd -d, reading at most `limit` bytes; the key goes through a pipe of its own."""
    if not sealed.startswith(b"age-encryption.org/v1\n"):    # age itself takes armour too
        raise Refused("%s is not an age file" % what)
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, key)
        os.close(write_end)
        age = subprocess.Popen(
            ["age", "-d", "-i", "/dev/fd/%d" % read_end], pass_fds=(read_end,),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        os.close(read_end)
    try:
        zstd = subprocess.Popen(
            ["zstd", "-d", "-q", "-c", "--memory=8MB"],
            stdin=age.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError:
        age.kill()
        age.communicate()
        raise
    age.stdout.close()

    def feed():
        try:
            age.stdin.write(sealed)
        except OSError:
            pass    # age has given up; its exit status says so
        try:
            age.stdin.close()
        except OSError:
            pass

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    plain = zstd.stdout.read(limit + 1)
    if len(plain) > limit:
        zstd.kill()
        age.kill()
    zstd_says = zstd.stderr.read(4096)
    age_says = age.stderr.read(4096)
    for process in (zstd, age):
        process.wait()
        process.stderr.close()
    zstd.stdout.close()
    feeder.join()
    if len(plain) > limit:
        raise Refused("%s opens to more than a reader allows (%d bytes)" % (what, limit))
    if age.returncode != 0 and b"no identity matched" in age_says:
        raise Refused("%s was sealed to another key than this chain's" % what)
    if age.returncode != 0 and zstd.returncode == 0 or b"age: error" in age_says:
        raise Refused("%s cannot be decrypted (%s)" % (what, first_line(age_says)))
    if zstd.returncode != 0:
        raise Refused("%s cannot be decompressed within an 8 MiB window (%s)"
                      % (what, first_line(zstd_says)))
    if age.returncode != 0:
        raise Refused("%s cannot be decrypted (age ended with %d)" % (what, age.returncode))
    return plain


def first_line(output):
    return shown(output.strip().split(b"\n")[0]) or "without a word"


# ------------------------------------------------------------------------------------- manifests

class Trusted:
    """The public keys of the workers whose signatures count."""

    def __init__(self, arguments):
        self.keys = []
        for argument in arguments:
            lines = [argument]
            if not argument.startswith("ssh-"):
                try:
                    lines = read_file(argument, KEYS_LIMIT).decode("utf-8").splitlines()
                except (OSError, Refused, UnicodeDecodeError):
                    raise Refused("the file of trusted keys %s cannot be read" % shown(argument),
                                  "give a public key in quotes, or a file of such lines") from None
            for line in lines:
                line = line.strip()
                if not line or line.startswith("#"):
                    continue
                if not PUBLIC_KEY.match(line):
                    raise Refused("the trusted key \"%s\" is no ssh-ed25519 public key"
                                  % shown(line[:60]), "copy it from the recovery sheet")
                self.keys.append(" ".join(line.split()[:2]))
        if arguments and not self.keys:
            raise Refused("no key is in the files given with --trusted",
                          "copy the worker's public key from the recovery sheet")

    def signed(self, line, signature):
        """Whether one of them signed these bytes."""
        with tempfile.TemporaryDirectory(prefix="recover-") as folder:
            signers = os.path.join(folder, "trusted")
            sig = os.path.join(folder, "signature")
            with open(signers, "w") as file:
                file.writelines("worker %s\n" % key for key in self.keys)
            with open(sig, "w", encoding="utf-8") as file:
                file.write(signature)
            return subprocess.run(
                ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "worker", "-n", "lifeboat",
                 "-s", sig], input=line, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL).returncode == 0


class Manifest:
    """A backup's manifest, checked whole. Refusals here continue the phrase "ID.json in STORE …"."""

    def __init__(self, data, foundation, backup_id, trusted):
        first, newline, rest = data.partition(b"\n")
        if not newline:
            raise NotOurs("is cut short") if trusted.keys else Refused("is cut short")
        self.verified = False
        if trusted.keys:
            self.check_signature(first + b"\n", rest, trusted)
        value = parse_json(first, "its first line")
        check_format(value, "the backup")
        self.id = text(value, "id", "it", BACKUP_ID)
        self.foundation = text(value, "foundation", "it", FOUNDATION)
        outcome = text(value, "outcome", "it")
        if (self.id, self.foundation) != (backup_id, foundation):
            raise NotOurs("is the manifest of backup %s of %s under another name"
                          % (self.id, self.foundation), "use the backup under its own name")
        if outcome != "complete":
            raise NotOurs("has the outcome \"%s\"" % shown(outcome), "recover a complete backup")
        self.started = moment(value, "started", "it")
        self.finished = moment(value, "finished", "it")
        self.release = text(value, "release", "it")
        chain = value.get("chain")
        if type(chain) is not dict:
            raise Refused("has no proper \"chain\"")
        self.chain = text(chain, "id", "its chain", CHAIN_ID)
        self.keys = text(chain, "keys", "its chain", DIGEST)
        self.recovery = text(chain, "recovery", "its chain", DIGEST)
        self.recovery_age = text(value, "recovery_age", "it", limit=MANIFEST_LIMIT)
        if rest and not trusted.keys:
            self.signature(rest)
        self.components = {}
        for component in items(value, "components", "it"):
            name = text(component, "name", "a component")
            kind, slash, tail = name.partition("/")
            proper = bool(SEGMENT.match(tail)) and kind in ("deployment", "service-instances") if slash else \
                name in ("ops-manager", "director", "tas", "service-instances")
            if not proper:
                raise Refused("has the forbidden component name \"%s\"" % shown(name))
            if name in self.components:
                raise Refused("holds the component %s twice" % name)
            self.components[name] = Component(name, component)

    def signature(self, rest):
        lines = rest.split(b"\n")
        if len(lines) != 2 or lines[1]:
            raise NotOurs("does not have the two lines of a manifest")
        return text(parse_json(lines[0], "its second line"), "signature", "its second line")

    def check_signature(self, line, rest, trusted):
        advice = "recover a backup that is signed, or compare --trusted with the recovery sheet"
        if not rest:
            raise NotOurs("is not signed", advice)
        try:
            good = trusted.signed(line, self.signature(rest))
        except Refused as refusal:
            raise NotOurs(refusal.why, advice) from None
        if not good:
            raise NotOurs("is not signed by a trusted worker (or was changed after that)", advice)
        self.verified = True


class Component:
    def __init__(self, name, value):
        what = "the component %s" % name
        self.name = name
        self.started = moment(value, "started", what)
        self.finished = moment(value, "finished", what)
        self.artifacts = []
        names = set()
        for artifact in items(value, "artifacts", what):
            entry = Artifact(name, artifact)
            if entry.name in names:
                raise Refused("%s holds the artifact %s twice" % (what, entry.name))
            names.add(entry.name)
            self.artifacts.append(entry)


class Artifact:
    def __init__(self, component, value):
        what = "an artifact of %s" % component
        self.component = component
        self.name = text(value, "name", what, SEGMENT)
        what = "the artifact %s" % self.name
        self.form = text(value, "form", what)
        if self.form not in ("tar", "file", "tree"):
            raise Refused("%s has the unknown form \"%s\"" % (what, shown(self.form)))
        self.root = text(value, "root", what, DIGEST)
        self.files = number(value, "files", what)
        self.bytes = number(value, "bytes", what)


def load_manifest(stores, foundation, backup_id, trusted):
    name = "%s/backups/%s.json" % (foundation, backup_id)
    try:
        return stores.try_each(name, MANIFEST_LIMIT,
                               lambda data: Manifest(data, foundation, backup_id, trusted))
    except Refused as refusal:
        if "%s.json" % backup_id in stores.names("%s/dropped" % foundation) and \
                "%s.json" % backup_id not in stores.names("%s/backups" % foundation):
            raise Refused("backup %s of %s was dropped by prune" % (backup_id, foundation),
                          "choose one that \"recover.py list\" shows") from None
        raise refusal


def backup_ids(stores, foundation):
    """Every listed ID, newest first, with the stores that list it."""
    found = stores.names("%s/backups" % foundation)
    return sorted(((name[:-5], paths) for name, paths in found.items()
                   if name.endswith(".json") and BACKUP_ID.match(name[:-5])), reverse=True)


def find_manifest(stores, foundation, wanted, trusted, component=None):
    """The manifest asked for; "latest" is the newest that holds the component.

    A stranger's manifest is passed over, aloud. Anything else wrong with a newer one stops here, so
    that nobody gets an older backup without having asked for it.
    """
    if wanted != "latest":
        if not BACKUP_ID.match(wanted):
            raise Refused("\"%s\" is no backup ID" % shown(wanted),
                          "choose one that \"recover.py list\" shows")
        return load_manifest(stores, foundation, wanted, trusted)
    for backup_id, _ in backup_ids(stores, foundation):
        try:
            manifest = load_manifest(stores, foundation, backup_id, trusted)
        except NotOurs as refusal:
            if not trusted.keys:
                raise
            say("note: a newer backup is passed over: %s" % refusal.why)
            continue
        if component is None or component in manifest.components:
            return manifest
    raise Refused("no usable backup of %s%s is in %s" % (
        foundation, " that holds %s" % component if component else "",
        ", ".join(shown(path) for path in stores.paths)),
        "compare --foundation and --store (the directory above the foundation's) with "
        "\"recover.py list\"")


# ------------------------------------------------------------------------------------- the index

class Reader:
    """Opens the objects of one chain, several at once."""

    def __init__(self, stores, manifest, keys, jobs):
        self.stores = stores
        self.folder = "%s/chains/%s" % (manifest.foundation, manifest.chain)
        self.keys = keys
        self.jobs = jobs
        self.stopped = False    # after a failure nothing more is opened
        self.pool = concurrent.futures.ThreadPoolExecutor(jobs)

    def index(self, digest, limit, what):
        name = "%s (%s/index/%s/%s)" % (what, self.folder, digest[:2], digest)
        return self.open(self.folder + "/index", digest, self.keys.index, limit, limit, name)

    def chunk(self, digest, plain, length):
        what = "the chunk %s/data/%s/%s" % (self.folder, digest[:2], digest)
        data = self.open(self.folder + "/data", digest, self.keys.data, CHUNK_LIMIT, length, what)
        if len(data) != length or hashlib.sha256(data).hexdigest() != plain:
            raise Refused("%s does not open to the bytes that its page names" % what)
        return data

    def open(self, folder, digest, key, limit, most, what):
        if self.stopped:
            raise Refused("%s was not opened any more" % what)
        return unseal(self.stores.addressed(folder, digest, limit), key, most, what)


class Root:
    """The list of an artifact's pages, checked against the manifest and in itself."""

    def __init__(self, reader, artifact):
        self.what = what = "the root of %s" % artifact.name
        self.data = reader.index(artifact.root, ROOT_LIMIT, what)
        lines = lines_of(self.data, what)
        value = parse_json(next(lines, b""), what)
        check_format(value, what)
        for key, expected in (("component", artifact.component), ("artifact", artifact.name),
                              ("form", artifact.form)):
            if text(value, key, what) != expected:
                raise Refused("%s is that of another artifact (%s \"%s\")"
                              % (what, key, shown(value[key])))
        self.files = number(value, "files", what)
        self.others = number(value, "others", what)
        self.bytes = number(value, "bytes", what)
        self.zeros = number(value, "zeros", what)
        if (self.files, self.bytes) != (artifact.files, artifact.bytes):
            raise Refused("%s and the manifest count differently" % what)
        if artifact.form == "file" and (self.files, self.others, self.zeros) != (1, 0, 0):
            raise Refused("%s lists more than the one entry of a plain file" % what)
        self.bbr = self.bbr_names(value.get("bbr"))
        self.check_pages(lines)

    def bbr_names(self, bbr):
        """None, (NAME,) of a named artifact, or (instance, index, job)."""
        if bbr is None:
            return None
        if type(bbr) is not dict:
            raise Refused("%s has no proper \"bbr\"" % self.what)
        keys = ("custom",) if "custom" in bbr else ("instance", "index", "job")
        return tuple(text(bbr, key, self.what, limit=1024) for key in keys)

    def check_pages(self, lines):
        entries = {"files": 0, "others": 0}
        total = 0
        last = "files"
        for line in lines:
            page, kind, count, size = self.page(line)
            if last == "others" and kind == "files":
                raise Refused("%s lists a page of files after one of others" % self.what)
            last = kind
            entries[kind] += count
            total += size
        if total != self.bytes or entries["others"] != self.others \
                or entries["files"] < self.files:
            raise Refused("%s and its pages count differently" % self.what)

    def page(self, line):
        value = parse_json(line, "a line of %s" % self.what)
        kind = text(value, "kind", self.what)
        if kind not in ("files", "others"):
            raise Refused("%s lists a page of the unknown kind \"%s\"" % (self.what, shown(kind)))
        return (text(value, "page", self.what, DIGEST), kind,
                number(value, "entries", self.what), number(value, "bytes", self.what))

    def pages(self, wanted):
        lines = lines_of(self.data, self.what)
        next(lines)
        for line in lines:
            page, kind, count, size = self.page(line)
            if kind == wanted:
                yield page, count, size


Chunk = collections.namedtuple("Chunk", "name plain length")
Line = collections.namedtuple("Line", "head sha256 size parts more weight where")


def opened_pages(reader, root, kind):
    """Each page's entry lines as JSON objects, the next page being opened meanwhile."""
    def open_page(page):
        return reader.index(page, PAGE_LIMIT, "a page of %s" % root.what)

    coming = collections.deque()
    pages = root.pages(kind)
    while True:
        while len(coming) < 2:
            page = next(pages, None)
            if page is None:
                break
            coming.append((page, reader.pool.submit(open_page, page[0])))
        if not coming:
            return
        (page, count, size), opened = coming.popleft()
        what = "the page %s of %s" % (page, root.what)
        lines = lines_of(opened.result(), what)
        del opened
        yield what, lines, count, size


def page_entries(reader, root, kind):
    """Every line of a list, page after page; counts are compared at each page's end."""
    for what, lines, count, size in opened_pages(reader, root, kind):
        chunks = []
        table = items(parse_json(next(lines, b""), what), "chunks", what, list)
        if table and kind == "others":
            raise Refused("%s lists chunks for entries without content" % what)
        for row in table:
            if len(row) != 3 or type(row[0]) is not str or not DIGEST.match(row[0]) \
                    or type(row[1]) is not str or not DIGEST.match(row[1]) \
                    or type(row[2]) is not int or not 1 <= row[2] <= CHUNK_LIMIT:
                raise Refused("%s has an improper table of chunks" % what)
            chunks.append(Chunk(*row))
        seen = content = 0
        for line in lines:
            entry = parse_json(line, "a line of %s" % what)
            seen += 1
            if seen > count:
                break
            if kind == "others":
                yield head_of(entry, what), number(entry, "at", what), what
                continue
            parts = parts_of(entry, chunks, what)
            content += sum(length for _, _, length in parts)
            more = entry.get("more", False)
            if type(more) is not bool:
                raise Refused("%s has an improper \"more\"" % what)
            if "head" in entry:
                yield Line(head_of(entry, what), text(entry, "sha256", what, DIGEST),
                           number(entry, "size", what), parts, more, len(line), what)
            else:
                yield Line(None, None, None, parts, more, len(line), what)
        if seen != count or content != size:
            raise Refused("%s and its root count differently" % what)


def head_of(entry, what):
    try:
        return base64.b64decode(text(entry, "head", what, limit=LINE_LIMIT), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("%s has a head that is not base64" % what) from None


def parts_of(entry, chunks, what):
    parts = []
    for part in items(entry, "parts", what, list):
        if len(part) != 3 or not all(type(item) is int for item in part) \
                or not 0 <= part[0] < len(chunks) or part[1] < 0 or part[2] < 1 \
                or part[1] + part[2] > chunks[part[0]].length:
            raise Refused("%s has a part that is not inside its chunk" % what)
        parts.append((chunks[part[0]], part[1], part[2]))
    return parts


# ---------------------------------------------------------------------------------------- chunks

class Chunks:
    """Opened chunks: at most 2 × jobs ahead of the one in use, and a few kept behind it."""

    def __init__(self, reader):
        self.reader = reader
        self.held = collections.OrderedDict()      # name -> (future, chunk), longest unused first
        self.needed = {}                           # name -> parts ahead that need it
        self.kept = 0                              # plain bytes of those held that none needs

    def full(self):
        return len(self.needed) >= 2 * self.reader.jobs

    def order(self, chunk):
        if chunk.name in self.needed:
            self.needed[chunk.name] += 1
        else:
            self.needed[chunk.name] = 1
            if chunk.name in self.held:
                self.kept -= self.held[chunk.name][1].length
        if chunk.name not in self.held:
            self.held[chunk.name] = (self.reader.pool.submit(self.reader.chunk, *chunk), chunk)
        elif self.held[chunk.name][1] != chunk:
            raise Refused("two pages say different things of the chunk %s" % chunk.name)

    def take(self, chunk):
        data = self.held[chunk.name][0].result()
        self.held.move_to_end(chunk.name)
        self.needed[chunk.name] -= 1
        if not self.needed[chunk.name]:
            del self.needed[chunk.name]
            self.kept += chunk.length
            self.forget()
        return data

    def forget(self):
        for name in list(self.held):
            if self.kept <= KEPT_CHUNKS:
                return
            if name not in self.needed:
                self.kept -= self.held.pop(name)[1].length


def file_steps(reader, root):
    """What to do for the files, in order: ("file", line), ("part", bytes)…, ("end", line).

    Chunks are ordered ahead of the step that needs them; the look-ahead is bounded in steps, in
    bytes of index and in chunks.
    """
    chunks = Chunks(reader)
    ahead = collections.deque()
    weight = 0
    source = plan_files(root, page_entries(reader, root, "files"))
    more = True
    while more or ahead:
        while more and (not ahead or (len(ahead) < 4096 and weight < 2 * MIB
                                      and not chunks.full())):
            step = next(source, None)
            if step is None:
                more = False
                break
            if step[0] == "part":
                chunks.order(step[1])
            elif step[0] == "file":
                weight += step[1].weight
            ahead.append(step)
        if not ahead:
            return
        step = ahead.popleft()
        if step[0] == "part":
            _, chunk, offset, length = step
            yield "part", memoryview(chunks.take(chunk))[offset:offset + length]
        else:
            if step[0] == "file":
                weight -= step[1].weight
            yield step


def plan_files(root, lines):
    """Steps without bytes, with the rules about sizes and continued lines."""
    seen = 0
    current = None
    for line in lines:
        if line.head is not None:
            if current is not None:
                raise Refused("%s lacks the rest of a file" % line.where)
            seen += 1
            if seen > root.files:
                raise Refused("%s lists more files than the root says" % line.where)
            current, left = line, line.size
            yield "file", line._replace(parts=None)
        elif current is None:
            raise Refused("%s continues a file that did not begin" % line.where)
        for chunk, offset, length in line.parts:
            left -= length
            if left < 0:
                raise Refused("%s has more parts than the file's size" % line.where)
            yield "part", chunk, offset, length
        if not line.more:
            if left:
                raise Refused("%s has fewer parts than the file's size" % line.where)
            yield "end", current._replace(parts=None)
            current = None
    if current is not None:
        raise Refused("%s ends within a file" % root.what)
    if seen != root.files:
        raise Refused("%s lists %d files where it has %d" % (root.what, root.files, seen))


# ------------------------------------------------------------------------------------- tar heads

Entry = collections.namedtuple("Entry", "name kind size mode mtime link")
FILE, DIRECTORY, SYMLINK, HARDLINK, SPECIAL = "file", "directory", "symlink", "hardlink", "special"


def tar_number(field, what):
    if field[:1] and field[0] & 0x80:    # base 256, for what octal digits cannot hold
        return int.from_bytes(bytes([field[0] & 0x7f]) + field[1:], "big")
    digits = field.strip(b" \0")
    if digits and not re.match(rb"[0-7]+\Z", digits):
        raise Refused("%s has a head with an improper number" % what)
    return int(digits or b"0", 8)


def parse_head(head, what):
    """What the header blocks in front of one content say, long names and pax records applied."""
    if len(head) % 512 or not 512 <= len(head) <= HEAD_LIMIT:
        raise Refused("%s has a head that is not made of tar blocks" % what)
    at = 0
    long_name = long_link = None
    pax = {}
    while True:
        block = head[at:at + 512]
        at += 512
        if len(block) != 512:
            raise Refused("%s has a head that is cut short" % what)
        if tar_number(block[148:156], what) != sum(block) - sum(block[148:156]) + 8 * 32:
            raise Refused("%s has a head whose checksum is wrong" % what)
        flag = block[156:157]
        size = tar_number(block[124:136], what)
        if flag not in (b"L", b"K", b"x", b"g"):
            break
        if size > len(head) - at:
            raise Refused("%s has a head that is cut short" % what)
        data = head[at:at + size]
        at += size + -size % 512
        if flag == b"L":
            long_name = data.split(b"\0")[0]
        elif flag == b"K":
            long_link = data.split(b"\0")[0]
        elif flag == b"x":
            pax = parse_pax(data, what)
    if at != len(head):
        raise Refused("%s has a head with something after its last block" % what)
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0]
    if block[257:263] == b"ustar\0" and prefix:
        name = prefix + b"/" + name
    kinds = {b"0": FILE, b"\0": FILE, b"7": FILE, b"1": HARDLINK, b"2": SYMLINK, b"5": DIRECTORY}
    kind = kinds.get(flag, SPECIAL)
    if flag == b"S" or any(key.startswith(b"GNU.sparse.") for key in pax):
        raise Refused("%s has a sparse entry, which only tar can read" % what)
    if b"size" in pax:
        if not re.match(rb"[0-9]{1,19}\Z", pax[b"size"]):
            raise Refused("%s has a head with an improper number" % what)
        size = int(pax[b"size"])
    entry = Entry(pax.get(b"path", name if long_name is None else long_name), kind,
                  size if kind == FILE else 0, tar_number(block[100:108], what) & 0o777,
                  min(tar_number(block[136:148], what), 2 ** 40),
                  pax.get(b"linkpath", block[157:257].split(b"\0")[0] if long_link is None
                          else long_link))
    if not is_safe(entry.name):
        raise Refused("%s has the forbidden entry name \"%s\"" % (what, shown(entry.name)))
    return entry


def parse_pax(data, what):
    records = {}
    while data:
        digits, space, _ = data[:20].partition(b" ")
        if not space or not re.match(rb"[1-9][0-9]{0,9}\Z", digits):
            raise Refused("%s has an improper pax record" % what)
        record = data[len(digits) + 1:int(digits)]
        key, equals, value = record[:-1].partition(b"=")
        if int(digits) > len(data) or record[-1:] != b"\n" or not equals:
            raise Refused("%s has an improper pax record" % what)
        records[key] = value
        data = data[int(digits):]
    return records


def is_safe(name):
    """`./` or below it: no `..`, no `.`, no empty segment, no NUL."""
    if not name.startswith(b"./") or b"\0" in name or len(name) > 4096:
        return False
    rest = name[2:-1] if name.endswith(b"/") else name[2:]
    return not rest or all(part not in (b"", b".", b"..") for part in rest.split(b"/"))


# ------------------------------------------------------------------------------- what is written

def private(path, flags):
    return os.open(path, flags, 0o600)


class PlainOutput:
    """A tar or plain file, written under a temporary name beside its own."""

    def __init__(self, folder, name, tar):
        self.path = os.path.join(folder, name)
        self.partial = os.path.join(folder, ".%s.partial" % name)
        self.tar = tar
        self.file = io.open(self.partial, "xb", buffering=MIB, opener=private)

    def begin(self, head, entry, what):
        self.file.write(head)

    def content(self, data):
        self.file.write(data)

    def end(self, size):
        if self.tar:
            self.file.write(bytes(-size % 512))

    def other(self, head, entry, what):
        self.file.write(head)

    def finish(self, zeros):
        while zeros:
            step = min(zeros, MIB)
            self.file.write(bytes(step))
            zeros -= step
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.rename(self.partial, self.path)

    def abandon(self):
        self.file.close()
        os.unlink(self.partial)


class TreeOutput:
    """A directory, unpacked under a temporary name. Each segment of a path is opened without
    following links, from the directory above it."""

    def __init__(self, folder, name):
        self.path = os.path.join(folder, name)
        self.partial = os.path.join(folder, ".%s.partial" % name)
        os.mkdir(self.partial, 0o700)
        self.root = os.open(self.partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        self.directories = []
        self.fd = None

    def within(self, name, what):
        """The directory that holds `name` (caller closes it) and the last segment."""
        *above, last = name[2:].rstrip(b"/").split(b"/")
        fd = os.dup(self.root)
        for segment in above:
            try:
                try:
                    below = os.open(segment, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW,
                                    dir_fd=fd)
                except FileNotFoundError:
                    os.mkdir(segment, 0o700, dir_fd=fd)
                    below = os.open(segment, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW,
                                    dir_fd=fd)
            except OSError as error:
                os.close(fd)
                raise Refused("%s holds \"%s\", which lies under a link or file or cannot be made "
                              "(%s)" % (what, shown(name), error.strerror)) from None
            os.close(fd)
            fd = below
        return fd, last

    def make(self, name, what, action):
        above, last = self.within(name, what)
        try:
            return action(above, last)
        except OSError as error:
            raise Refused("%s holds \"%s\", which cannot be made (%s)"
                          % (what, shown(name), error.strerror)) from None
        finally:
            os.close(above)

    def begin(self, head, entry, what):
        if entry.name.endswith(b"/"):
            raise Refused("%s calls the file \"%s\" a directory" % (what, shown(entry.name)))
        self.fd = self.make(entry.name, what, lambda above, last: os.open(
            last, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=above))
        self.entry = entry

    def content(self, data):
        while data:
            data = data[os.write(self.fd, data):]

    def end(self, size):
        os.fchmod(self.fd, self.entry.mode)
        os.utime(self.fd, (self.entry.mtime, self.entry.mtime))
        os.close(self.fd)
        self.fd = None

    def other(self, head, entry, what):
        if entry.kind == DIRECTORY:
            self.directories.append((entry, what))
            if entry.name != b"./":
                self.make(entry.name, what, self.directory)
        elif entry.kind == SYMLINK:
            if entry.link.startswith(b"/") or b".." in entry.link.split(b"/"):
                say("note: the link %s points to %s" % (shown(entry.name), shown(entry.link)))
            self.make(entry.name, what, lambda above, last: self.symlink(entry, above, last))
        elif entry.kind == HARDLINK and is_safe(entry.link):
            self.make(entry.name, what, lambda above, last: self.hardlink(entry, what, above, last))
        else:
            raise Refused("%s holds \"%s\", which is a device or another thing that is not "
                          "unpacked" % (what, shown(entry.name)),
                          "rebuild this artifact by hand, as the end of RECOVERY.md shows")

    @staticmethod
    def symlink(entry, above, last):
        os.symlink(entry.link, last, dir_fd=above)
        os.utime(last, (entry.mtime, entry.mtime), dir_fd=above, follow_symlinks=False)

    @staticmethod
    def directory(above, last):
        try:
            os.mkdir(last, 0o700, dir_fd=above)
        except FileExistsError:    # made on the way to something inside it
            if not stat.S_ISDIR(os.stat(last, dir_fd=above, follow_symlinks=False).st_mode):
                raise

    def hardlink(self, entry, what, above, last):
        source, name = self.within(entry.link, what)
        try:
            os.link(name, last, src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False)
        finally:
            os.close(source)

    def finish(self, zeros):
        for entry, what in reversed(self.directories):    # deepest first: modes may forbid entry
            if entry.name == b"./":
                fd = os.dup(self.root)
            else:
                fd = self.make(entry.name, what, lambda above, last: os.open(
                    last, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above))
            os.fchmod(fd, entry.mode)
            os.utime(fd, (entry.mtime, entry.mtime))
            os.close(fd)
        os.close(self.root)
        os.rename(self.partial, self.path)

    def abandon(self):
        if self.fd is not None:
            os.close(self.fd)
        shutil.rmtree(self.partial, ignore_errors=True)


def write_artifact(reader, artifact, folder, sums):
    """One artifact, whole and verified, or nothing. Returns its root."""
    root = Root(reader, artifact)
    sums.begin(root.bbr)
    plain = artifact.form == "file"
    free = shutil.disk_usage(folder).free
    if root.bytes + root.zeros > free:
        raise Refused("%s needs %d bytes and %s has room for %d"
                      % (artifact.name, root.bytes + root.zeros, shown(folder), free),
                      "give --to a larger file system")
    others = page_entries(reader, root, "others")
    other = next(others, None)
    lowest = 0
    seen = 0
    output = TreeOutput(folder, artifact.name) if artifact.form == "tree" else \
        PlainOutput(folder, artifact.name, not plain)
    try:
        def write_others(most):
            nonlocal other, lowest
            while other is not None and other[1] <= most:
                head, at, what = other
                if at < lowest:
                    raise Refused("%s has entries out of order" % what)
                lowest = at
                entry = parse_head(head, what)
                if entry.kind == FILE:
                    raise Refused("%s has a file among the others" % what)
                output.other(head, entry, what)
                if entry.kind != DIRECTORY:
                    sums.add(entry.name, hashlib.sha256().hexdigest())
                other = next(others, None)

        entry = digest = None
        for step, value in file_steps(reader, root):
            if step == "file":
                write_others(seen)
                entry = None
                if not plain:
                    entry = parse_head(value.head, value.where)
                    if entry.kind != FILE or entry.size != value.size:
                        raise Refused("%s and the tar head of \"%s\" say different things"
                                      % (value.where, shown(entry.name)))
                elif value.head:
                    raise Refused("%s has a tar head in a plain file" % value.where)
                output.begin(value.head, entry, value.where)
                digest = hashlib.sha256()
            elif step == "part":
                digest.update(value)
                output.content(value)
            else:
                if digest.hexdigest() != value.sha256:
                    raise Refused("a file of %s does not have the SHA-256 in %s"
                                  % (artifact.name, value.where))
                output.end(value.size)
                if entry is not None:
                    sums.add(entry.name, value.sha256)
                seen += 1
        write_others(root.files)
        if other is not None:
            raise Refused("%s places an entry after more files than there are" % other[2])
        output.finish(root.zeros)
    except BaseException:
        output.abandon()
        raise
    return root


# -------------------------------------------------------------------------------- bbr's metadata

class Checksums:
    """Lines of bbr's `metadata` for one artifact after another, kept in a file, not in memory."""

    def __init__(self, folder):
        self.file = tempfile.TemporaryFile(dir=folder)
        self.artifacts = []    # (names from the root, start, end)
        self.start = 0
        self.indent = ""

    def begin(self, names):
        self.indent = " " * (4 if names is not None and len(names) == 1 else 6)

    def add(self, name, digest):
        try:
            key = quoted(name.decode("utf-8"))
        except UnicodeDecodeError:
            key = '!!binary "%s"' % base64.b64encode(name).decode()
        if len(key) > 128:    # what YAML calls a complex key
            line = '%s? %s\n%s: "%s"\n' % (self.indent, key, self.indent, digest)
        else:
            line = '%s%s: "%s"\n' % (self.indent, key, digest)
        self.file.write(line.encode())

    def artifact_done(self, names):
        end = self.file.tell()
        if names is not None:
            self.artifacts.append((names, self.start, end))
        self.start = end

    def write(self, folder, component):
        output = PlainOutput(folder, "metadata", False)
        try:
            instances = {}
            custom = []
            for names, start, end in self.artifacts:
                if len(names) == 1:
                    custom.append((names[0], start, end))
                else:
                    instances.setdefault(names[:2], []).append((names[2], start, end))
            if instances:
                output.file.write(b"instances:\n")
            for (name, index), artifacts in instances.items():
                output.file.write(("- name: %s\n  index: %s\n  artifacts:\n"
                                   % (quoted(name), quoted(index))).encode())
                for job, start, end in artifacts:
                    output.file.write(("  - name: %s\n" % quoted(job)).encode())
                    self.copy(output.file, start, end)
            if custom:
                output.file.write(b"custom_artifacts:\n")
            for name, start, end in custom:
                output.file.write(("- name: %s\n" % quoted(name)).encode())
                self.copy(output.file, start, end, "  ")
            output.file.write(("backup_activity:\n  start_time: %s\n  finish_time: %s\n"
                               % (bbr_time(component.started),
                                  bbr_time(component.finished))).encode())
            output.finish(0)
        except BaseException:
            output.abandon()
            raise

    def copy(self, file, start, end, indent="    "):
        file.write(("%schecksums:%s\n" % (indent, "" if end > start else " {}")).encode())
        self.file.seek(start)
        while start < end:
            data = self.file.read(min(MIB, end - start))
            file.write(data)
            start += len(data)
        self.file.seek(0, os.SEEK_END)


def quoted(value):
    """A double-quoted YAML string, in ASCII."""
    def escape(char):
        code = ord(char)
        if char in '"\\':
            return "\\" + char
        if 0x20 <= code < 0x7f:
            return char
        return "\\x%02x" % code if code < 0x100 else \
            "\\u%04x" % code if code < 0x10000 else "\\U%08x" % code
    return '"%s"' % "".join(map(escape, value))


def bbr_time(rfc3339):
    return "%s UTC" % rfc3339[:19].replace("-", "/").replace("T", " ")


# -------------------------------------------------------------------------------------- commands

def command_list(arguments):
    stores = Stores(arguments.store)
    trusted = Trusted(arguments.trusted)
    foundations = [arguments.foundation] if arguments.foundation else sorted(
        name for name in stores.names("") if FOUNDATION.match(name)
        and stores.names("%s/backups" % name))
    count = 0
    for foundation in foundations:
        for backup_id, paths in backup_ids(stores, foundation)[::-1]:
            count += 1
            try:
                manifest = load_manifest(stores, foundation, backup_id, trusted)
                told = " ".join(manifest.components)
                total = sum(artifact.bytes for component in manifest.components.values()
                            for artifact in component.artifacts)
                told += "  %d bytes, chain %s" % (total, manifest.chain)
                if manifest.verified:
                    told += ", signed by a trusted worker"
            except Refused as refusal:
                told = "NOT USABLE: %s" % refusal.why
            say("%s  %s  in %d of %d stores  %s"
                % (foundation, backup_id, len(paths), len(stores.paths), told))
    if not count:
        raise Refused("no backup%s is in %s" % (
            " of %s" % arguments.foundation if arguments.foundation else "",
            ", ".join(shown(path) for path in stores.paths)),
            "give --store the directory that holds the foundation's directory")
    if not trusted.keys:
        say("origin not verified: give --trusted with the worker's key from the recovery sheet")


def command_show(arguments):
    stores = Stores(arguments.store)
    trusted = Trusted(arguments.trusted)
    manifest = find_manifest(stores, arguments.foundation, arguments.backup, trusted)
    say("backup      %s of %s, taken %s to %s by %s" % (
        manifest.id, manifest.foundation, manifest.started, manifest.finished,
        shown(manifest.release)))
    say("origin      %s" % ("signed by a trusted worker" if manifest.verified else
                            "origin not verified"))
    path = "%s/chains/%s/recovery.age" % (manifest.foundation, manifest.chain)
    say("chain       %s" % manifest.chain)
    for store in stores.paths:
        try:
            data = read_file(os.path.join(store, path), MANIFEST_LIMIT)
            state = "as the manifest says" if hashlib.sha256(data).hexdigest() == \
                manifest.recovery else "REPLACED: use the manifest's recovery_age instead"
        except (OSError, Refused):
            state = "missing: use the manifest's recovery_age instead"
        say("recovery    %s/%s: %s" % (shown(store), path, state))
    for component in manifest.components.values():
        say("component   %s" % component.name)
        for artifact in component.artifacts:
            say("  artifact  %s (%s): %d files, %d bytes"
                % (artifact.name, artifact.form, artifact.files, artifact.bytes))


def command_recover(arguments):
    for program in ("age", "zstd"):
        if shutil.which(program) is None:
            raise Refused("the program %s is not installed" % program, "install it and try again")
    stores = Stores(arguments.store)
    trusted = Trusted(arguments.trusted)
    manifest = find_manifest(stores, arguments.foundation, arguments.backup, trusted,
                             arguments.component)
    component = manifest.components.get(arguments.component)
    if component is None:
        raise Refused("backup %s has no component %s" % (manifest.id, shown(arguments.component)),
                      "choose one of: %s" % ", ".join(manifest.components))
    keys = Keys(arguments.keys, manifest)
    wanted = [artifact for artifact in component.artifacts if not arguments.artifact
              or any(fnmatch.fnmatchcase(artifact.name, glob) for glob in arguments.artifact)]
    if not wanted and arguments.artifact:
        raise Refused("no artifact of %s matches --artifact" % component.name, "choose among: %s"
                      % ", ".join(artifact.name for artifact in component.artifacts))
    say("backup %s of %s, %s: %s" % (
        manifest.id, manifest.foundation, component.name, "signed by a trusted worker"
        if manifest.verified else "origin not verified (no --trusted was given)"))
    made = prepare(arguments.to)
    reader = Reader(stores, manifest, keys, arguments.jobs)
    try:
        recover_component(reader, component, wanted, arguments.to)
    except BaseException:
        if made and not os.listdir(arguments.to):
            os.rmdir(arguments.to)
        raise
    finally:
        reader.stopped = True
        reader.pool.shutdown(wait=True)
    if stores.passed_over:
        say("note: %d objects were missing or damaged in a store and came from a later one; the "
            "first: %s" % (stores.passed_over, stores.first_passed_over))
    say("recovered %s of backup %s into %s" % (component.name, manifest.id, shown(arguments.to)))


def recover_component(reader, component, wanted, folder):
    own = any(artifact.name == "metadata" for artifact in component.artifacts)
    with tempfile.TemporaryDirectory(prefix=".checksums-", dir=folder) as spool:
        sums = Checksums(spool)
        for artifact in wanted:
            begun = time.monotonic()
            root = write_artifact(reader, artifact, folder, sums)
            sums.artifact_done(root.bbr if artifact.form == "tar" else None)
            seconds = max(time.monotonic() - begun, 0.001)
            say("%s: %d files, %d bytes, verified, %.1f MB/s"
                % (artifact.name, root.files, root.bytes, root.bytes / 1e6 / seconds))
        if sums.artifacts and not own:
            sums.write(folder, component)
            say("metadata: written for bbr")
        sums.file.close()


def prepare(folder):
    """Makes the output directory; whether it did."""
    try:
        if os.listdir(folder):
            raise Refused("%s is not empty" % shown(folder),
                          "give --to a new directory, or empty this one")
        return False
    except FileNotFoundError:
        os.makedirs(folder, 0o700)
        return True
    except NotADirectoryError:
        raise Refused("%s is not a directory" % shown(folder),
                      "give --to a new directory") from None


def command_line(arguments):
    parser = argparse.ArgumentParser(
        prog="recover.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in (("list", command_list), ("show", command_show),
                           ("recover", command_recover)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("--store", action="append", required=True, metavar="DIR")
        command.add_argument("--foundation", required=name != "list", metavar="NAME")
        command.add_argument("--trusted", action="append", default=[], metavar="KEY|FILE")
        if name == "show":
            command.add_argument("--backup", default="latest", metavar="ID|latest")
        if name == "recover":
            command.add_argument("--backup", required=True, metavar="ID|latest")
            command.add_argument("--keys", required=True, metavar="FILE")
            command.add_argument("--component", required=True, metavar="NAME")
            command.add_argument("--artifact", action="append", default=[], metavar="GLOB")
            command.add_argument("--to", required=True, metavar="OUTDIR")
            command.add_argument("--jobs", type=int, default=os.cpu_count() or 2,
                                 help="age processes at once; memory grows by 48 MiB with each")
    found = parser.parse_args(arguments)
    if found.foundation is not None and not FOUNDATION.match(found.foundation):
        parser.error("--foundation \"%s\" is no foundation's name" % shown(found.foundation))
    if getattr(found, "jobs", 1) < 1:
        parser.error("--jobs must be 1 or more")
    if found.trusted and shutil.which("ssh-keygen") is None:
        parser.error("--trusted needs ssh-keygen (OpenSSH 8.2 or newer)")
    return found


def main():
    def stop(*_):
        for number in (signal.SIGTERM, signal.SIGINT):    # let the cleaning up finish
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    arguments = command_line(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        arguments.function(arguments)
        return 0
    except Refused as refusal:
        why, advice = refusal.why, refusal.advice
    except KeyboardInterrupt:
        why, advice = "stopped by a signal", "run it again with a new --to"
    except OSError as error:
        why = "%s%s" % ((error.strerror or "input or output failed"),
                        ": %s" % shown(os.fsdecode(error.filename)) if error.filename else "")
        advice = "mend that and run it again with a new --to"
    except MemoryError:
        why, advice = "not enough memory", "run it again with --jobs 1"
    except Exception as error:    # a fault of this script: still one sentence
        why = "this script failed (%s: %s)" % (type(error).__name__, shown(str(error)))
        advice = "rebuild the artifact by hand, as the end of RECOVERY.md shows, and report it"
    print("recover.py: %s; %s." % (why, advice), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
