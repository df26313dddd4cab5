"""Readers against repositories that the reference writer made: good, damaged and forged.

Run from anywhere: python3 -m unittest discover -s tests/recover

That runs recover.py. With LIFEBOAT_IN=…/in in the environment (tests/it/forgery.rs does that) every
case goes through Lifeboat's own reader too: what one gives the other must give, byte for byte, and
what one refuses the other must refuse, each with a sentence.
"""

import base64
import hashlib
import json
import os
import re
import resource
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import reference_writer as writer    # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "..", "..", "src", "recover")
SCRIPT = os.path.join(SOURCE, "recover.py")
ID = "20261122T010203Z-7f3a09bc"
LATER = "20261123T010203Z-00000001"
EMPTY = hashlib.sha256(b"").hexdigest()
MIB = 1024 * 1024
LIFEBOAT = os.environ.get("LIFEBOAT_IN")
SHOW = os.environ.get("SHOW_REFUSALS")


def setUpModule():
    global BASE, RECOVERY_KEY, RECIPIENT, WORKER, STRANGER, TRUSTED
    BASE = tempfile.mkdtemp(prefix="recover-test-")
    RECOVERY_KEY, RECIPIENT = writer.age_identity()
    WORKER = writer.worker_identity(BASE, "worker")
    STRANGER = writer.worker_identity(BASE, "stranger")
    TRUSTED = writer.public_key(WORKER)


def tearDownModule():
    shutil.rmtree(BASE, ignore_errors=True)


def write(path, content=b"", mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def tree(folder):
    """Everything below a folder: kinds, modes and times of what is inside, contents, targets."""
    found = {}
    for directory, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            nested = directory != folder
            kind = stat.S_IFMT(status.st_mode)
            what = [kind]
            if nested:
                what += [stat.S_IMODE(status.st_mode), int(status.st_mtime)]
            if stat.S_ISREG(status.st_mode):
                what.append(writer.sha256(read(path)))
            elif stat.S_ISLNK(status.st_mode):
                what.append(os.readlink(path))
            found[os.path.relpath(path, folder)] = what
    return found


def real_tar(path, folder, *options):
    subprocess.run(["tar", "--format=gnu", "--sort=name", *options, "-C", folder, "-cf", path, "."],
                   check=True)


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=BASE)
        self.store = os.path.join(self.folder, "store")
        self.to = os.path.join(self.folder, "out")
        self.keys = os.path.join(self.folder, "keys.txt")
        self.recipients = [RECIPIENT]

    def tearDown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- making

    def chain(self, foundation="prod-east", worker=True, **options):
        chain = writer.Chain(self.store, foundation, self.recipients,
                             WORKER if worker else None, **options)
        write(self.keys, chain.opened, 0o600)
        return chain

    def sample_tar(self):
        """(path of a tar, path of what it holds)"""
        source = os.path.join(self.folder, "source")
        path = os.path.join(self.folder, "sample.tar")
        if not os.path.exists(path):
            write(source + "/dump.rdb", b"redis" * 1000)
            write(source + "/sub/appendonly.aof", os.urandom(3000), 0o600)
            write(source + "/sub/empty")
            real_tar(path, source)
        return path, source

    def sample(self, signer="worker", commit=True, component="tas", name="redis-0-redis-server.tar",
               chain=None, form="tar", changes=None, **options):
        """A chain with one artifact, committed and signed."""
        chain = chain or self.chain()
        path, _ = self.sample_tar()
        options.setdefault("bbr", {"instance": "redis", "index": "0", "job": "redis-server"})
        self.record = writer.write_tar(chain, component, name, path, form, **options)
        self.value = writer.manifest(chain, {component: [self.record]}, ID, **(changes or {}))
        self.signer = {"worker": WORKER, "stranger": STRANGER, None: None}[signer]
        if commit:
            self.manifest_path = writer.commit(chain, self.value, self.signer)
        return chain

    def root_of(self, chain):
        return chain.path("index", self.record["root"])

    def pages_of(self, chain):
        root = self.record["root"]
        return [os.path.join(d, f) for d, _, names in os.walk(chain.folder + "/index")
                for f in names if f != root]

    def chunks_of(self, chain):
        return [os.path.join(d, f) for d, _, names in os.walk(chain.folder + "/data")
                for f in names]

    # -- running

    def run_script(self, *arguments, stdin=None):
        return subprocess.run([sys.executable, "-B", SCRIPT, *arguments], input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def recover(self, *more, stores=None, trusted=True, backup=ID, component="tas",
                foundation="prod-east", keys=None, to=None, stdin=None):
        arguments = ["recover", "--foundation", foundation, "--backup", backup, "--component",
                     component, "--keys", keys or self.keys, "--to", to or self.to]
        for store in stores or [self.store]:
            arguments += ["--store", store]
        if trusted:
            arguments += ["--trusted", TRUSTED]
        return self.run_script(*arguments, *more, stdin=stdin)

    def lifeboat(self, *more, stores=None, trusted=True, backup=ID, component="tas",
                 foundation="prod-east", keys=None, to=None, stdin=None):
        """The same through Lifeboat's reader, or None where it has no such request. Returns how
        it ended, what it said last, and the directory."""
        if not LIFEBOAT or keys or stdin is not None or backup == "latest" or to \
                or any(option not in ("--artifact", "--jobs") for option in more[::2]):
            return None
        source = {"foundation": foundation, "stores": [
            {"name": "store-%d" % n, "path": path}
            for n, path in enumerate(stores or [self.store])]}
        if trusted:
            source["trusted_workers"] = [TRUSTED]
        params = {"download": True, "recovery_identity": RECOVERY_KEY, "components": [component]}
        artifacts = [glob for option, glob in zip(more[::2], more[1::2]) if option == "--artifact"]
        if artifacts:
            params["artifacts"] = artifacts
        into = tempfile.mkdtemp(dir=self.folder)
        request = {"source": source, "version": {"id": backup}, "params": params}
        done = subprocess.run([LIFEBOAT, into], input=json.dumps(request).encode(), timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={"PATH": os.environ["PATH"]})
        return done.returncode, done.stderr.decode(), into

    def good(self, *more, **options):
        done = self.recover(*more, **options)
        theirs = self.lifeboat(*more, **options)
        if theirs:
            code, told, into = theirs
            self.assertEqual(code, 0, told)
            self.assertEqual(tree(os.path.join(into, options.get("component", "tas"))),
                             tree(self.to))
            shutil.rmtree(into)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode()

    def refused(self, *words, more=(), twin=True, **options):
        """One sentence on stderr with these words, exit 1, nothing finished-looking left. `twin`:
        Lifeboat's own reader must refuse it as well."""
        theirs = self.lifeboat(*more, **options) if twin else None
        if theirs:
            code, told, into = theirs
            self.assertEqual(code, 1, told)
            self.assertNotIn("panicked", told)
            last = told.rstrip().split("\n")[-1]
            self.assertIn("failed: ", last)
            self.assertLess(len(last), 1500)
            self.assertEqual([name for name in os.listdir(into) if name != "backup.json"
                              and os.listdir(os.path.join(into, name))], [])
            if SHOW:
                print("%s: %s" % (self.id(), last), file=sys.stderr)
            shutil.rmtree(into)
        done = self.recover(*more, **options)
        told = done.stderr.decode()
        self.assertEqual(done.returncode, 1, told + done.stdout.decode())
        self.assertTrue(told.startswith("recover.py: ") and told.endswith(".\n"), told)
        self.assertEqual(told.count("\n"), 1, told)
        self.assertIn("; ", told)
        self.assertNotIn("Traceback", told)
        self.assertNotIn("this script failed", told)
        for word in words:
            self.assertIn(word, told)
        self.assertFalse(os.path.exists(self.to), "something was left behind")
        return told

    def assertSame(self, one, other):
        with open(one, "rb") as a, open(other, "rb") as b:
            while True:
                x, y = a.read(MIB), b.read(MIB)
                self.assertTrue(x == y, "%s and %s differ" % (one, other))
                if not x:
                    return

    def out(self, name):
        return os.path.join(self.to, name)


class GoodRepositories(Case):

    def test_a_signed_backup_gives_the_tar_byte_for_byte_and_bbrs_metadata(self):
        self.sample()
        told = self.good()
        self.assertIn("signed by a trusted worker", told)
        tar, source = self.sample_tar()
        self.assertSame(self.out("redis-0-redis-server.tar"), tar)
        sums = "".join('      "./%s": "%s"\n' % (name, writer.sha256(
            read(os.path.join(source, name))))
            for name in ("dump.rdb", "sub/appendonly.aof", "sub/empty"))
        with open(self.out("metadata")) as file:
            self.assertEqual(file.read(), (
                'instances:\n- name: "redis"\n  index: "0"\n  artifacts:\n'
                '  - name: "redis-server"\n    checksums:\n%s'
                'backup_activity:\n  start_time: 2026/11/22 01:00:08 UTC\n'
                '  finish_time: 2026/11/22 01:02:01 UTC\n') % sums)
        self.assertEqual(sorted(os.listdir(self.to)), ["metadata", "redis-0-redis-server.tar"])
        self.assertEqual(stat.S_IMODE(os.stat(self.to).st_mode), 0o700)

    def test_without_trusted_keys_it_says_so_and_goes_on(self):
        self.sample(signer=None)
        self.assertIn("origin not verified", self.good(trusted=False))

    def test_a_signed_backup_without_trusted_keys_is_not_called_verified(self):
        self.sample()
        self.assertIn("origin not verified", self.good(trusted=False))

    def test_keys_come_from_standard_input_too(self):
        chain = self.sample()
        self.good(keys="-", stdin=chain.opened)

    def test_trusted_keys_come_from_a_file_too(self):
        self.sample()
        path = os.path.join(self.folder, "trusted")
        write(path, b"# workers\n" + writer.public_key(STRANGER).encode() + b"\n"
              + TRUSTED.encode() + b" worker of prod\n")
        self.good("--trusted", path, trusted=False)

    def test_an_empty_artifact(self):
        chain = self.chain()
        source = os.path.join(self.folder, "nothing")
        os.mkdir(source)
        path = os.path.join(self.folder, "nothing.tar")
        real_tar(path, source)
        record = writer.write_tar(chain, "tas", "a-0-b.tar", path,
                                  bbr={"instance": "a", "index": "0", "job": "b"})
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.good()
        self.assertSame(self.out("a-0-b.tar"), path)
        self.assertIn("    checksums: {}\n", read(self.out("metadata")).decode())

    def test_odd_and_long_names_of_any_bytes(self):
        chain = self.chain()
        source = os.path.join(self.folder, "odd").encode()
        names = [b"white space", b"new\nline", b'quote"\'', b"back\\slash", b"\xff\xfe", b"-dash",
                 b"caf\xc3\xa9", b"\xf0\x9f\x98\x80", b"\x01\x7f\xc2\x85", b": #", b"...",
                 b"deep/" * 40 + b"file", b"n" * 255, b"\xff" * 140, b"yes", b"~"]
        for name in names:
            write(os.path.join(source, name), name)
        os.symlink(b"t" * 200, source + b"/link")
        os.link(source + b"/yes", source + b"/zz-hard")
        path = os.path.join(self.folder, "odd.tar")
        real_tar(path, source.decode())
        record = writer.write_tar(chain, "tas", "a-0-b.tar", path,
                                  bbr={"instance": "a", "index": "0", "job": "b"})
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.good()
        self.assertSame(self.out("a-0-b.tar"), path)
        metadata = read(self.out("metadata")).decode()
        self.assertIn('      ? "./%s"\n      : "' % ("n" * 255), metadata)
        self.assertIn('      !!binary "Li///g==": "', metadata)
        try:
            import yaml
        except ImportError:
            return
        sums = yaml.safe_load(metadata)["instances"][0]["artifacts"][0]["checksums"]
        expected = {}
        for name in names:
            key = b"./" + name
            try:
                key = key.decode()
            except UnicodeDecodeError:
                pass
            expected[key] = hashlib.sha256(name).hexdigest()
        expected["./link"] = expected["./zz-hard"] = EMPTY
        self.assertEqual(sums, expected)

    def test_a_pax_tar_with_times_and_long_names(self):
        chain = self.chain()
        source = os.path.join(self.folder, "pax")
        write(source + "/" + "long/" * 50 + "name", b"x" * 700)
        path = os.path.join(self.folder, "pax.tar")
        subprocess.run(["tar", "--format=posix", "-C", source, "-cf", path, "."], check=True)
        record = writer.write_tar(chain, "tas", "a-0-b.tar", path)
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.good()
        self.assertSame(self.out("a-0-b.tar"), path)
        self.assertFalse(os.path.exists(self.out("metadata")))    # nothing says whose tar it is

    def test_a_huge_file_continues_over_lines_and_pages(self):
        chain = self.chain()
        source = os.path.join(self.folder, "huge")
        write(source + "/a", b"before")
        write(source + "/huge", os.urandom(2 * MIB + 77))
        write(source + "/z", b"after")
        os.mkdir(source + "/y")
        path = os.path.join(self.folder, "huge.tar")
        real_tar(path, source)
        record = writer.write_tar(chain, "tas", "a-0-b.tar", path, chunk_size=32 * 1024,
                                  parts_per_line=3, lines_per_page=4)
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.good("--jobs", "2")
        self.assertSame(self.out("a-0-b.tar"), path)
        shutil.rmtree(self.to)
        self.good("--jobs", "1")

    def test_many_files_share_chunks_that_the_base_left_far_apart(self):
        chain = self.chain()
        source = os.path.join(self.folder, "many")
        for number in range(300):
            write(source + "/%03d" % number, os.urandom(2000))
        path = os.path.join(self.folder, "many.tar")
        real_tar(path, source)
        first = writer.ArtifactWriter(chain, "tas", "x", "tar")
        second = writer.ArtifactWriter(chain, "tas", "a-0-b.tar", "tar", lines_per_page=50)
        with tarfile.open(path) as tar, open(path, "rb") as raw:
            members = tar.getmembers()
            for number, member in enumerate(members):
                raw.seek(member.offset)
                head = raw.read(member.offset_data - member.offset)
                if not member.isreg():
                    second.other(head)
                elif number % 2:    # alternately from one chunk and another
                    content = raw.read(member.size)
                    second.file(head, content, member.size)
                else:
                    content = raw.read(member.size)
                    first.file(head, content, member.size)
                    second.files.append(first.files[-1])
                    second.bytes += member.size
            first.flush()
            end = members[-1].offset_data + 2048
            record = second.finish(os.path.getsize(path) - end)
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.good()
        self.assertSame(self.out("a-0-b.tar"), path)

    def test_a_service_instance_is_a_component_of_its_own(self):
        chain = self.chain()
        name = "service-instances/service-instance_1"
        records = {one: [writer.write_file(chain, one, "manifest.yml", one.encode())]
                   for one in ("tas", name)}
        manifest = writer.manifest(chain, records, ID)
        manifest["components"][1]["notes"] = ["1 of 2 is not in this backup"]
        writer.commit(chain, manifest, WORKER)
        self.good(component="tas")
        self.assertEqual(read(self.out("manifest.yml")), b"tas")

    def test_several_artifacts_files_and_instances_in_manifest_order(self):
        chain = self.chain()
        tar, _ = self.sample_tar()
        records = [writer.write_tar(chain, "deployment/cf", name, tar, bbr=bbr) for name, bbr in (
            ("db-0-mysql.tar", {"instance": "db", "index": "0", "job": "mysql"}),
            ("api-0-cc.tar", {"instance": "api", "index": "0", "job": "cc"}),
            ("db-0-uaa.tar", {"instance": "db", "index": "0", "job": "uaa"}),
            ("blob-cap-backup-one-restore-all.tar",
             {"custom": "blob-cap-backup-one-restore-all"}))]
        records.append(writer.write_file(chain, "deployment/cf", "manifest.yml", b"name: cf\n"))
        records.append(writer.write_file(chain, "deployment/cf", "empty", b""))
        writer.commit(chain, writer.manifest(chain, {"deployment/cf": records, "tas": []}, ID),
                      WORKER)
        self.good(component="deployment/cf")
        self.assertEqual(read(self.out("manifest.yml")).decode(), "name: cf\n")
        self.assertEqual(os.path.getsize(self.out("empty")), 0)
        metadata = read(self.out("metadata")).decode()
        self.assertEqual(re.findall(r'^-? +(?:- )?name: "([^"]+)"|^- name: "([^"]+)"', metadata,
                                    re.M), [("db", ""), ("mysql", ""), ("uaa", ""), ("api", ""),
                                            ("cc", ""), ("blob-cap-backup-one-restore-all", "")])
        self.assertLess(metadata.index("custom_artifacts:\n"), metadata.index("backup_activity:"))
        shutil.rmtree(self.to)
        self.good("--artifact", "manifest.*", component="deployment/cf")
        self.assertEqual(os.listdir(self.to), ["manifest.yml"])

    def test_a_stored_metadata_is_given_back_and_none_is_made(self):
        chain = self.chain()
        tar, _ = self.sample_tar()
        records = [writer.write_file(chain, "tas", "metadata", b"instances: []\n"),
                   writer.write_tar(chain, "tas", "a-0-b.tar", tar,
                                    bbr={"instance": "a", "index": "0", "job": "b"})]
        writer.commit(chain, writer.manifest(chain, {"tas": records}, ID), WORKER)
        self.good()
        self.assertEqual(read(self.out("metadata")).decode(), "instances: []\n")

    def test_a_tree_is_unpacked_with_its_modes_times_and_links(self):
        source = os.path.join(self.folder, "tree")
        write(source + "/bin/run", b"#!/bin/sh\n", 0o755)
        write(source + "/closed/secret", b"s", 0o400)
        os.symlink("/etc/passwd", source + "/absolute")
        os.symlink("bin/run", source + "/relative")
        os.link(source + "/bin/run", source + "/run-again")
        os.utime(source + "/bin/run", (1000, 1000))
        os.utime(source + "/relative", (2000, 2000), follow_symlinks=False)
        os.chmod(source + "/closed", 0o500)
        path = os.path.join(self.folder, "tree.tar")
        real_tar(path, source)
        chain = self.chain()
        record = writer.write_tar(chain, "ops-manager", "config", path, "tree")
        writer.commit(chain, writer.manifest(chain, {"ops-manager": [record]}, ID), WORKER)
        told = self.good(component="ops-manager")
        self.assertIn("note: the link ./absolute points to /etc/passwd", told)
        self.assertEqual(os.listdir(self.to), ["config"])
        again = os.path.join(self.folder, "again.tar")
        real_tar(again, self.out("config"))
        self.assertSame(again, path)
        os.chmod(source + "/closed", 0o700)
        os.chmod(self.out("config/closed"), 0o700)

    def test_each_object_comes_from_the_first_store_that_has_it_undamaged(self):
        chain = self.sample()
        second = os.path.join(self.folder, "second")
        shutil.copytree(self.store, second)
        os.unlink(self.manifest_path)
        flip(self.root_of(chain))
        for path in self.pages_of(chain)[:1] + self.chunks_of(chain)[:1]:
            path = path.replace(self.store, second)
            write(path, b"")
        told = self.good(stores=[self.store, second])
        self.assertIn("came from a later one", told)
        shutil.rmtree(self.to)
        self.good(stores=[second, self.store])

    def test_latest_is_the_newest_that_holds_the_component(self):
        chain = self.sample()
        writer.commit(chain, writer.manifest(chain, {"director": []}, LATER), WORKER)
        self.assertIn(ID, self.good(backup="latest"))

    def test_latest_passes_over_a_strangers_backup_aloud(self):
        chain = self.sample()
        writer.commit(chain, dict(self.value, id=LATER), STRANGER)
        told = self.good(backup="latest")
        self.assertIn("note: a newer backup is passed over", told)
        self.assertIn(LATER, told)

    def test_list_and_show(self):
        chain = self.sample()
        newer = dict(self.value, id=LATER, format=2, release="lifeboat 9.1")
        writer.commit(chain, newer, WORKER)
        for trusted in ([], ["--trusted", TRUSTED]):
            done = self.run_script("list", "--store", self.store, *trusted)
            told = done.stdout.decode()
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn("%s  in 1 of 1 stores  tas" % ID, told)
            self.assertRegex(told, LATER + ".*format 2")
            self.assertEqual("origin not verified" in told, not trusted)
        done = self.run_script("show", "--store", self.store, "--foundation", "prod-east",
                               "--backup", ID)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"redis-0-redis-server.tar (tar): 3 files", done.stdout)
        self.assertIn(b"recovery.age: as the manifest says", done.stdout)
        write(chain.folder + "/recovery.age", b"other")
        done = self.run_script("show", "--store", self.store, "--foundation", "prod-east",
                               "--backup", ID)
        self.assertIn(b"REPLACED", done.stdout)
        done = self.run_script("list", "--store", self.folder)
        self.assertEqual(done.returncode, 1)

    def test_unknown_fields_are_ignored(self):
        self.sample(changes={"later": {"x": [1.5, None, 10 ** 30, "y"]}},
                    edit_root=lambda lines: [dict(lines[0], new=[[1e9]])] + lines[1:],
                    edit_entry=lambda entry: dict(entry, new="x"))
        self.good()

    def test_keys_stay_out_of_arguments_and_environment(self):
        with open(SCRIPT) as file:
            script = file.read()
        self.assertNotIn("os.environ", script)
        self.sample()
        folder = os.path.join(self.folder, "bin")
        for name in ("age", "zstd"):
            real = shutil.which(name)
            write(folder + "/" + name, (
                "#!/bin/sh\n(echo \"$@\"; env) >> %s/seen\nexec %s \"$@\"\n"
                % (self.folder, real)).encode(), 0o755)
        before = os.environ["PATH"]
        os.environ["PATH"] = folder + ":" + before
        try:
            self.good()
        finally:
            os.environ["PATH"] = before
        with open(self.folder + "/seen") as file:
            seen = file.read()
        self.assertIn("-d -i /dev/fd/", seen)
        self.assertNotIn("AGE-SECRET-KEY", seen)


def flip(path):
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        data[len(data) // 2] ^= 0x10
        file.seek(0)
        file.write(data)


def truncate(path):
    os.truncate(path, os.path.getsize(path) - 1)


def empty(path):
    os.truncate(path, 0)


class Instructions(Case):
    """The blocks marked `sh` in RECOVERY.md, run literally."""

    def setUp(self):
        super().setUp()
        with open(os.path.join(SOURCE, "RECOVERY.md")) as file:
            self.document = file.read()
        self.key = os.path.join(self.folder, "recovery-key")
        write(self.key, RECOVERY_KEY.encode() + b"\n", 0o600)

    def follow(self, backup=ID, **variables):
        """Returns the directory it was done in."""
        shutil.copy(SCRIPT, self.store)
        write(self.store + "/RECOVERY.md", self.document.encode())
        work = os.path.join(self.folder, "work")
        os.mkdir(work)
        values = dict(STORE=self.store, FOUNDATION="prod-east", BACKUP=backup, COMPONENT="tas",
                      RECOVERY_KEY=self.key, TRUSTED=TRUSTED, TO=self.to, **variables)
        blocks = re.findall(r"^```sh\n(.*?)^```$", self.document, re.M | re.S)
        self.assertGreater(len(blocks), 5)
        script = "set -eu\n" + "".join("%s=%s\n" % (name, shlex.quote(value))
                                       for name, value in values.items()) + "".join(blocks)
        done = subprocess.run(["sh", "-c", script], cwd=work, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        return work

    def test_they_recover_with_and_without_the_script(self):
        self.sample(chunk_size=1500, parts_per_line=2, lines_per_page=2)
        work = self.follow()
        tar, _ = self.sample_tar()
        self.assertSame(self.out("redis-0-redis-server.tar"), tar)
        self.assertSame(work + "/by-hand/redis-0-redis-server.tar", tar)
        self.assertFalse(os.path.exists(work + "/keys.txt"))

    def test_they_recover_where_recovery_age_is_lost(self):
        chain = self.sample()
        os.unlink(chain.folder + "/recovery.age")
        self.follow()
        self.assertSame(self.out("redis-0-redis-server.tar"), self.sample_tar()[0])


class Damage(Case):
    """Action × kind of object; with one store everything but recovery.age is needed."""

    def kinds(self, chain):
        return {"manifest": self.manifest_path, "root": self.root_of(chain),
                "page": self.pages_of(chain)[0], "page of others": self.pages_of(chain)[-1],
                "chunk": self.chunks_of(chain)[0]}

    def each_kind(self, action, *words):
        chain = self.sample()
        for kind, path in self.kinds(chain).items():
            with self.subTest(kind):
                with open(path, "rb") as file:
                    before = file.read()
                action(path)
                told = self.refused(*words)
                self.assertIn(os.path.basename(path), told)
                self.refused(*words, trusted=False)
                if os.path.isdir(path):
                    os.rmdir(path)
                write(path, before)
        self.good()

    def test_a_missing_object(self):
        self.each_kind(os.unlink, "is missing in")

    def test_a_truncated_object(self):
        self.each_kind(truncate)

    def test_an_empty_object(self):
        self.each_kind(empty)

    def test_a_directory_in_the_place_of_an_object(self):
        self.each_kind(lambda path: (os.unlink(path), os.mkdir(path)))

    def test_a_flipped_bit(self):
        chain = self.sample()
        for kind, path in self.kinds(chain).items():
            with self.subTest(kind):
                with open(path, "rb") as file:
                    before = file.read()
                if kind == "manifest":
                    write(path, before.replace(b'"drained_bytes":1', b'"drained_bytes":3'))
                else:
                    flip(path)
                self.refused(os.path.basename(path))
                write(path, before)

    def test_swapped_objects(self):
        chain = self.sample(chunk_size=1500, lines_per_page=1)
        for pair in ((self.pages_of(chain)[:2]), (self.chunks_of(chain)[:2]),
                     (self.root_of(chain), self.pages_of(chain)[0])):
            with self.subTest(pair):
                one, other = pair
                os.rename(one, one + "x")
                os.rename(other, one)
                os.rename(one + "x", other)
                self.refused("SHA-256")
                os.rename(one, one + "x")
                os.rename(other, one)
                os.rename(one + "x", other)
        self.good()

    def test_an_object_that_is_too_large_is_not_read(self):
        chain = self.sample()
        for kind, path in self.kinds(chain).items():
            with self.subTest(kind):
                with open(path, "rb") as file:
                    before = file.read()
                os.truncate(path, 10 ** 12)    # sparse
                self.refused("larger than a reader allows")
                write(path, before)

    def test_a_fifo_in_the_place_of_an_object(self):
        chain = self.sample()
        path = self.chunks_of(chain)[0]
        os.unlink(path)
        os.mkfifo(path)
        self.refused("not a plain file")

    def test_a_finished_artifact_stays_and_a_failed_one_leaves_nothing(self):
        chain = self.chain()
        tar, _ = self.sample_tar()
        first = writer.write_file(chain, "tas", "first", b"good")
        second = writer.write_file(chain, "tas", "second", b"bad" * 1000)
        writer.commit(chain, writer.manifest(chain, {"tas": [first, second]}, ID), WORKER)
        bad = chain.chunks[writer.sha256(b"bad" * 1000)][0]
        flip(chain.path("data", bad))
        done = self.recover()
        self.assertEqual(done.returncode, 1)
        self.assertEqual(os.listdir(self.to), ["first"])

    def test_a_full_directory_is_refused(self):
        self.sample()
        write(self.out("x"))
        done = self.recover()
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"is not empty", done.stderr)
        self.assertEqual(os.listdir(self.to), ["x"])


class Keys(Case):

    def refuse_keys(self, data, *words):
        write(self.keys, data)
        return self.refused("keys", *words, twin=False)

    def test_wrong_keys(self):
        chain = self.sample()
        good = chain.opened
        other, _ = writer.age_identity()
        lines = good.decode().splitlines()
        identities = [line for line in lines if not line.startswith("#")]
        plugin = "AGE-PLUGIN-EVIL-1QQQQQQQQQQQQQQ"
        self.refuse_keys(b"", "0 identities")
        self.refuse_keys(good.replace(identities[1].encode(), other.encode()), "replaced")
        self.refuse_keys(good + b"# comment\n", "edited")
        self.refuse_keys(good + other.encode() + b"\n", "3 identities")
        self.refuse_keys(good.replace(identities[1].encode() + b"\n", b""), "1 identities")
        self.refuse_keys(good.replace(identities[0].encode(), plugin.encode()),
                         "stranger's program")
        self.refuse_keys(good + plugin.encode() + b"\n", "stranger's program")
        self.refuse_keys(good + b"hello\n", "AGE-SECRET-KEY-1")
        self.refuse_keys(good.replace(b"prod-east", b"prod-west"), "foundation prod-west")
        self.refuse_keys(good.replace(chain.id.encode(), b"0" * 16), "chain 0000")
        self.refuse_keys(good.replace(b"format: 1", b"format: 2"), "format 2")
        self.refuse_keys(b"# created: 2026\n# public key: age1x\n" + RECOVERY_KEY.encode() + b"\n",
                         "recovery key")
        self.refuse_keys(b"\xff\xfe", "not an opened")
        self.refuse_keys(b"x" * 100000, "larger")
        self.refused("cannot be read", keys=self.keys + "-not-there", twin=False)

    def test_keys_in_the_wrong_order_are_noticed(self):
        chain = self.sample(commit=False)
        data, index = re.findall(rb"AGE-SECRET-KEY-\S+", chain.opened)
        chain.opened = chain.opened.replace(data, b"@").replace(index, data).replace(b"@", index)
        writer.commit(chain, writer.manifest(chain, {"tas": [self.record]}, ID), WORKER)
        write(self.keys, chain.opened)
        self.refused("another key than this chain's")

    def test_a_replaced_recovery_age_opens_to_keys_that_are_refused(self):
        chain = self.sample()
        evil = writer.Chain(os.path.join(self.folder, "evil"), "prod-east", [RECIPIENT],
                            chain_id=chain.id)
        shutil.copy(evil.folder + "/recovery.age", chain.folder)
        key = os.path.join(self.folder, "recovery-key")
        write(key, RECOVERY_KEY.encode() + b"\n")
        opened = writer.run("age", "-d", "-i", key, chain.folder + "/recovery.age")
        self.refuse_keys(opened, "replaced")


class Forgery(Case):

    def test_a_manifest_signed_by_another_key(self):
        self.sample(signer="stranger")
        self.refused("not signed by a trusted worker")

    def test_an_unsigned_manifest_where_signers_are_known(self):
        self.sample(signer=None)
        self.refused("is not signed")

    def test_a_signature_over_another_line_or_namespace(self):
        chain = self.sample(commit=False)
        line = writer.compact(self.value)
        path = writer.commit(chain, self.value, WORKER)
        for signature in (
                writer.sign(line[:-1], WORKER),    # without the newline
                writer.run("ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", WORKER,
                           stdin=line).decode(),
                "", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", 7, None):
            with self.subTest(signature):
                write(path, line + writer.compact({"signature": signature}))
                self.refused(ID)
        good = writer.compact({"signature": writer.sign(line, WORKER)})
        for data in (line + good + b"\n", line + good + good, line + b"\n" + good, line[:-1] + good,
                     line + b"{}\n", line + b"[]\n", line + good[:-1], b"\n" + good, line[:-1]):
            with self.subTest(data[-30:]):
                write(path, data)
                self.refused(ID)
        write(path, line + good)
        self.good()

    def test_a_changed_second_line_is_refused_without_trusted_keys_too(self):
        self.sample()
        with open(self.manifest_path, "ab") as file:
            file.write(b"third\n")
        self.refused("two lines", trusted=False)

    def test_a_manifest_replayed_under_another_name(self):
        self.sample()
        shutil.copy(self.manifest_path, self.manifest_path.replace(ID, LATER))
        for trusted in (True, False):
            self.refused("under another name", backup=LATER, trusted=trusted)
        self.assertIn("passed over", self.good(backup="latest"))

    def test_another_foundations_backup(self):
        self.sample()
        shutil.copytree(self.store + "/prod-east", self.store + "/prod-west")
        for trusted in (True, False):
            self.refused("under another name", foundation="prod-west", trusted=trusted)

    def test_a_whole_forged_chain_with_the_same_recipients(self):
        chain = self.sample(signer="stranger")
        self.refused("not signed by a trusted worker")
        self.assertTrue(chain)

    def test_a_partial_backup_among_the_complete(self):
        self.sample(changes={"outcome": "partial"})
        self.refused("outcome")

    def test_a_dropped_backup_is_named_as_such(self):
        self.sample()
        os.makedirs(self.store + "/prod-east/dropped")
        os.rename(self.manifest_path, self.manifest_path.replace("/backups/", "/dropped/"))
        self.refused("dropped by prune")

    def test_a_newer_format_names_the_release(self):
        chain = self.sample(changes={"format": 2, "release": "lifeboat 9.1"})
        for trusted in (True, False):
            self.refused("lifeboat 9.1", "format 2", trusted=trusted)
            self.refused("lifeboat 9.1", backup="latest", trusted=trusted)
        self.assertTrue(chain)

    def test_a_newer_format_of_a_root(self):
        self.sample(edit_root=lambda lines: [dict(lines[0], format=3)] + lines[1:])
        self.refused("format 3", "later one")

    def test_the_root_of_another_artifact_or_component(self):
        chain = self.chain()
        tar, _ = self.sample_tar()
        one = writer.write_tar(chain, "tas", "a-0-b.tar", tar)
        writer.commit(chain, writer.manifest(chain, {"tas": [dict(one, name="b-0-b.tar")]}, ID))
        self.refused("of another artifact", trusted=False)
        writer.commit(chain, writer.manifest(chain, {"director": [one]}, ID))
        self.refused("of another artifact", trusted=False, component="director")
        writer.commit(chain, writer.manifest(chain, {"tas": [dict(one, form="tree")]}, ID))
        self.refused("of another artifact", trusted=False)

    def test_manifest_fields_that_are_wrong(self):
        chain = self.sample(commit=False)
        line = writer.compact(self.value)
        record = self.value["components"][0]["artifacts"][0]
        component = self.value["components"][0]

        def with_artifact(**changes):
            return {"components": [dict(component, artifacts=[dict(record, **changes)])]}

        wrong = [
            {"format": "1"}, {"format": None}, {"format": True}, {"format": 1.0}, {"format": -1},
            {"id": 7}, {"id": "x"}, {"foundation": ["prod-east"]}, {"started": "yesterday"},
            {"started": "2026-13-22T01:00:00Z"}, {"started": "1969-11-22T01:00:00Z"},
            {"release": None}, {"chain": list(self.value["chain"].values())},
            {"chain": "x"}, {"chain": dict(self.value["chain"], id="../../../../etc")},
            {"chain": dict(self.value["chain"], keys="00")}, {"recovery_age": 1},
            {"components": {}}, {"components": [7]}, {"components": None},
            {"components": [dict(component, name="../../etc/cron.d/x")]},
            {"components": [dict(component, name="deployment/../x")]},
            {"components": [dict(component, name="deployment/a/b")]},
            {"components": [dict(component, name="service-instances/../x")]},
            {"components": [dict(component, name="service-instances/a/b")]},
            {"components": [dict(component, name="tas/x")]},
            {"components": [dict(component, name="tas\n")]},
            {"components": [component, component]},
            {"components": [dict(component, artifacts=[record, record])]},
            {"components": [dict(component, finished="now")]},
            with_artifact(name="../../etc/cron.d/x"), with_artifact(name="/etc/cron.d/x"),
            with_artifact(name="a\0b"), with_artifact(name="a" * 129), with_artifact(name=""),
            with_artifact(name=".hidden"), with_artifact(name="a/b"), with_artifact(name=".."),
            with_artifact(name="x\n"), with_artifact(name="\ud800"), with_artifact(name=None),
            with_artifact(form="device"), with_artifact(root="../" * 20 + "etc/passwd"),
            with_artifact(root="A" * 64), with_artifact(files=-1), with_artifact(bytes=10 ** 18),
            with_artifact(files=10 ** 40), with_artifact(files=True), with_artifact(bytes=1.5),
            with_artifact(bytes="1"), with_artifact(files=4),
        ]
        for changes in wrong:
            with self.subTest(str(changes)[:100]):
                writer.commit(chain, dict(self.value, **changes), WORKER, name=ID)
                self.refused()
        for name, data in {
            "array": b"[1,2]\n", "number": b"7\n", "null": b"null\n", "text": b"hello\n",
            "not UTF-8": line.replace(b"prod", b"\xff\xfe"), "nothing": b"\n",
            "twice": b'{"format":1,' + line[1:], "NaN": line.replace(b'"new_bytes":1', b'"n":NaN'),
            "huge": line.replace(b'"format":1', b'"format":' + b"1" * 3000000),
            "infinite": line.replace(b'"format":1', b'"format":1e999'),
            "deep": line.replace(b'"new_bytes":1', b'"n":' + b"[" * 1000000),
            "deep objects": line.replace(b'"new_bytes":1', b'"n":' + b'{"a":' * 500000),
            "BOM": b"\xef\xbb\xbf" + line, "over 4 MiB": line[:-1] + b" " * 4 * MIB + b"\n",
        }.items():
            with self.subTest(name):
                writer.commit(chain, None, WORKER, name=ID, line=data)
                self.refused(ID + ".json")
                writer.commit(chain, None, None, name=ID, line=data)
                self.refused(ID + ".json", trusted=False)

    def test_arguments_that_are_no_names(self):
        self.sample()
        self.refused("no backup ID", backup="../../x")
        self.refused("has no component", component="../../x")
        self.assertEqual(self.recover(foundation="../x").returncode, 2)
        self.refused("no ssh-ed25519", more=["--trusted", "ssh-rsa AAAA"])
        self.refused("cannot be read", more=["--trusted", "/nonexistent"])
        self.refused("no artifact", more=["--artifact", "x*"])


class ForgedIndex(Case):
    """What lies under a good signature may be wrong too: a faulty or stolen worker."""

    def wrong_page(self, *words, kind="files", **edits):
        for line, change in edits.pop("each", {}).items():
            edits[line] = change

        def edit(found, number, lines):
            if found != kind or number:
                return lines
            return edits["page"](lines)
        self.sample(edit_page=edit)
        told = self.refused(*words)
        shutil.rmtree(self.store)
        return told

    def test_lines_of_pages_that_are_wrong(self):
        def entry(**changes):
            return lambda lines: lines[:1] + [dict(lines[1], **changes)] + lines[2:]

        def without(key):
            return lambda lines: lines[:1] + [
                {k: v for k, v in lines[1].items() if k != key}] + lines[2:]

        def table(rows):
            return lambda lines: [{"chunks": rows(lines[0]["chunks"])}] + lines[1:]

        def text(old, new):
            return lambda lines: [
                writer.compact(line).replace(old, new) for line in lines]

        cases = {
            "before the chunk": ("not inside its chunk", entry(parts=[[0, -1, 5000]])),
            "beyond the chunk": ("not inside its chunk", entry(parts=[[0, 4000, 5000]])),
            "huge length": ("not inside its chunk", entry(parts=[[0, 0, 10 ** 18]])),
            "negative length": ("not inside its chunk", entry(parts=[[0, 5, -5]])),
            "no such chunk": ("not inside its chunk", entry(parts=[[9, 0, 5000]])),
            "chunk from behind": ("not inside its chunk", entry(parts=[[-1, 0, 5000]])),
            "text in a part": ("part", entry(parts=[["0", 0, 5000]])),
            "truth in a part": ("part", entry(parts=[[False, 0, 5000]])),
            "fraction in a part": ("part", entry(parts=[[0, 0, 5000.0]])),
            "two numbers": ("part", entry(parts=[[0, 0]])),
            "no list": ("parts", entry(parts={})),
            "no parts": ("parts", without("parts")),
            "too few parts": ("", entry(parts=[[0, 0, 4999]])),
            "too many parts": ("", entry(parts=[[0, 0, 5000], [0, 0, 1]])),
            "empty part": ("not inside its chunk", entry(parts=[[0, 0, 5000], [0, 0, 0]])),
            "entry as a list": ("not a JSON object", lambda lines: lines[:1] + [
                list(lines[1].values())] + lines[2:]),
            "key twice below": ("twice", text(b'"size":5000', b'"size":5000,"x":[{"y":1,"y":1}]')),
            "another part": ("SHA-256", entry(parts=[[0, 1, 5000]])),
            "negative size": ("size", entry(size=-5000)),
            "huge size": ("size", entry(size=10 ** 30)),
            "other size": ("", entry(size=5001)),
            "other digest": ("SHA-256", entry(sha256="0" * 64)),
            "improper digest": ("sha256", entry(sha256="0" * 63)),
            "more": ("", entry(more=True)),
            "more as text": ("more", entry(more="yes")),
            "no head": ("", without("head")),
            "head that is no base64": ("base64", entry(head="***")),
            "head cut": ("tar blocks", entry(head="AAAA")),
            "head of zeros": ("checksum", entry(head="A" * 683 + "=")),
            "empty head": ("tar blocks", entry(head="")),
            "long head": ("tar blocks", entry(head="A" * 4 * 170 * 1024)),
            "null head": ("head", entry(head=None)),
            "name of a chunk": ("table", table(lambda rows: [["../" * 9, rows[0][1], 1]])),
            "digest of a chunk": ("table", table(lambda rows: [[rows[0][0], 7, 1]])),
            "empty chunk": ("table", table(lambda rows: [[rows[0][0], rows[0][1], 0]])),
            "large chunk": ("table", table(lambda rows: [rows[0][:2] + [16 * MIB + 1]])),
            "shorter chunk": ("", table(lambda rows: [rows[0][:2] + [rows[0][2] - 1]])),
            "longer chunk": ("does not open to the bytes",
                             table(lambda rows: [rows[0][:2] + [rows[0][2] + 1]])),
            "other plain digest": ("does not open to the bytes",
                                   table(lambda rows: [[rows[0][0], "0" * 64, rows[0][2]]])),
            "no table": ("chunks", lambda lines: lines[1:]),
            "nothing": ("", lambda lines: []),
            "line missing": ("count differently", lambda lines: lines[:-1]),
            "line twice": ("", lambda lines: lines + lines[-1:]),
            "array": ("not a JSON object", lambda lines: lines[:1] + [[1]] + lines[2:]),
            "no newline at the end": ("without its end",
                                      lambda lines: lines[:-1] + [writer.compact(lines[-1])[:-1]]),
            "key twice": ("twice", text(b'"size":', b'"size":5000,"size":')),
            "NaN": ("number", text(b'"size":5000', b'"size":NaN')),
            "long number": ("size", text(b'"size":5000', b'"size":' + b"9" * 500000)),
            "not UTF-8": ("UTF-8", text(b'"head"', b'"h\xff"')),
            "deep": ("deeply", text(b'"size":5000', b'"size":' + b"[" * 100000)),
            "long line": ("1 MiB", text(b'"size":5000', b'"size":5000,"x":"' + b"x" * MIB + b'"')),
        }
        for name, (word, page) in cases.items():
            with self.subTest(name):
                self.wrong_page(word, page=page)

    @staticmethod
    def head_of_a_file():
        return base64.b64encode(tarfile.TarInfo("./x").tobuf(tarfile.GNU_FORMAT)).decode()

    def test_others_that_are_wrong(self):
        def entry(number, **changes):
            return lambda lines: lines[:number] + [dict(lines[number], **changes)] + \
                lines[number + 1:]
        # others are ./ and ./sub/ before files 0 and 1
        for name, (word, page) in {
            "falling": ("", entry(1, at=2)), "beyond the end": ("", entry(2, at=4)),
            "negative": ("at", entry(1, at=-1)), "text": ("at", entry(1, at="0")),
            "file": ("file among the others", entry(1, head=self.head_of_a_file())),
            "chunks": ("chunks for entries without content", lambda lines: [
                {"chunks": [["0" * 64, "0" * 64, 1]]}] + lines[1:]),
            "huge": ("at", entry(2, at=10 ** 25)), "no head": ("head", entry(1, head=7)),
        }.items():
            with self.subTest(name):
                self.wrong_page(word, kind="others", page=page)

    def test_roots_that_are_wrong(self):
        def first(**changes):
            return lambda lines: [dict(lines[0], **changes)] + lines[1:]

        def page(**changes):
            return lambda lines: lines[:1] + [dict(lines[1], **changes)] + lines[2:]
        for name, (word, root) in {
            "files": ("count differently", first(files=4)),
            "others": ("count differently", first(others=1)),
            "bytes": ("count differently", first(bytes=1)),
            "negative zeros": ("zeros", first(zeros=-512)), "zeros": ("zeros", first(zeros=1e3)),
            "no room for zeros": ("larger file system", first(zeros=10 ** 18)),
            "bbr": ("bbr", first(bbr=7)), "bbr index": ("index", first(bbr={
                "instance": "a", "index": 0, "job": "b"})),
            "kind": ("kind", page(kind="all")), "page": ("page", page(page="../x")),
            "entries": ("", page(entries=4)), "fewer entries": ("", page(entries=2)),
            "negative entries": ("entries", page(entries=-3)),
            "page bytes": ("count differently", page(bytes=1)),
            "order": ("after one of others", lambda lines: [lines[0], lines[2], lines[1]]),
            "no page of others": ("count differently", lambda lines: lines[:2]),
            "no page of files": ("count differently", lambda lines: [lines[0], lines[2]]),
            "swapped pages": ("", lambda lines: [
                lines[0], dict(lines[1], page=lines[2]["page"]),
                dict(lines[2], page=lines[1]["page"])]),
            "nothing": ("not JSON", lambda lines: []),
            "missing page": ("is missing in", page(page="0" * 64)),
            "root as page": ("", lambda lines: [lines[0], lines[1], lines[1]]),
        }.items():
            with self.subTest(name):
                self.sample(edit_root=root)
                self.refused(word)
                shutil.rmtree(self.store)

    def hostile(self, word, members, form="tar"):
        """A tar with these members, made by hand."""
        path = os.path.join(self.folder, "hostile.tar")
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, kind, link in members:
                info = tarfile.TarInfo("x")
                info.type, info.linkname = kind, link
                # tarfile would tidy the name up
                info.name = name
                tar.addfile(info)
        chain = self.chain()
        record = writer.write_tar(chain, "tas", "artifact", path, form)
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.refused(word)
        shutil.rmtree(self.store)

    def test_hostile_entry_names(self):
        file = tarfile.REGTYPE
        for form in ("tar", "tree"):
            for name in ("../../etc/cron.d/x", "/etc/cron.d/x", "./../x", "./a/../../x", "x",
                         "./a//b", "././a", "./" + "a" * 5000, "./a/.."):
                with self.subTest(form=form, name=name[:30]):
                    self.hostile("forbidden entry name", [(name, file, "")], form)

    def test_hostile_trees(self):
        file, link, hard, folder = \
            tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
        outside = os.path.join(self.folder, "outside")
        os.mkdir(outside)
        for name, members in {
            "file through a link": [("./l", link, outside), ("./l/x", file, "")],
            "file over a link": [("./l", link, outside + "/x"), ("./l", file, "")],
            "directory through a link": [("./l", link, outside), ("./l/x/", folder, "")],
            "directory over a link": [("./l", link, outside), ("./l/", folder, "")],
            "hard link to the outside": [("./x", hard, "../outside"), ("./x", file, "")],
            "absolute hard link": [("./x", hard, "/etc/passwd")],
            "hard link through a link": [("./l", link, "/etc"), ("./x", hard, "./l/passwd")],
            "file twice": [("./x", file, ""), ("./x", file, "")],
            "file as directory": [("./x", file, ""), ("./x/y", file, "")],
            "device": [("./x", tarfile.CHRTYPE, "")], "fifo": [("./x", tarfile.FIFOTYPE, "")],
            "long segment": [("./" + "a" * 300, file, "")],
        }.items():
            with self.subTest(name):
                self.hostile("", members, "tree")
        self.assertEqual(os.listdir(outside), [])

    def test_a_nul_in_a_pax_name(self):
        path = os.path.join(self.folder, "nul.tar")
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            info = tarfile.TarInfo("x")
            info.pax_headers = {"path": "./a\0b"}
            tar.addfile(info)
        chain = self.chain()
        record = writer.write_tar(chain, "tas", "artifact", path)
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.refused("forbidden entry name")

    def test_a_size_that_the_tar_head_does_not_have(self):
        def lie(entry):
            if entry.get("size") != 3000:
                return entry
            return dict(entry, size=2999, parts=[entry["parts"][0][:2] + [2999]])
        chain = self.sample(edit_entry=lie, commit=False)
        self.assertTrue(chain)

        def lie_of_root(lines):
            return [dict(lines[0], bytes=7999), dict(lines[1], bytes=7999)] + lines[2:]
        chain = self.sample(chain=chain, edit_entry=lie, edit_root=lie_of_root, commit=False)
        record = dict(self.record, bytes=7999)
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.refused("say different things")

    def test_a_plain_file_with_a_head(self):
        chain = self.chain()
        record = writer.write_file(chain, "tas", "x", b"x",
                                   edit_entry=lambda e: dict(e, head="AAAA"))
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        self.refused("tar head in a plain file")

    def test_bombs(self):
        chain = self.sample()
        plain = bytes(64 * MIB)
        bomb = writer.zstd(plain * 4)
        self.assertLess(len(bomb), 64 * 1024)
        data = chain.put("data", writer.age(bomb, chain.data_recipient))
        index = chain.put("index", writer.age(bomb, chain.index_recipient))
        line = chain.index([b"{" + b" " * (2 * MIB)])

        def root(lines):
            return lines[:1] + [dict(lines[1], page=index)] + lines[2:]
        for name, (word, options) in {
            "page": ("more than a reader allows", {"edit_root": root}),
            "line": ("1 MiB", {"edit_root": lambda lines: lines[:1] + [
                dict(lines[1], page=line)] + lines[2:]}),
            "chunk": ("more than a reader allows", {"edit_page": lambda kind, n, lines: lines
                      if kind == "others" else [{"chunks": [[data, EMPTY, 16 * MIB]]}]
                      + lines[1:]}),
        }.items():
            with self.subTest(name):
                self.sample(chain=chain, **options)
                self.refused(word)
        with self.subTest("root"):
            value = writer.manifest(chain, {"tas": [dict(self.record, root=index)]}, ID)
            writer.commit(chain, value, WORKER)
            self.refused("more than a reader allows")
        with self.subTest("window"):
            wide = writer.run("zstd", "-q", "-c", "--long=27", stdin=os.urandom(40 * MIB) * 2)
            self.assertGreater(len(wide), MIB)
            small = writer.run("zstd", "-q", "-c", "--long=27", "--no-check",
                               stdin=bytes(20 * MIB) + b"x")
            name = chain.put("index", writer.age(small, chain.index_recipient))
            writer.commit(chain, writer.manifest(
                chain, {"tas": [dict(self.record, root=name)]}, ID), WORKER)
            self.refused("8 MiB window")

    def test_objects_that_are_sealed_wrongly(self):
        chain = self.sample()
        recipient = chain.index_recipient
        root = b'{"format":1}\n'
        sealed = writer.age(writer.zstd(root), recipient)
        _, other = writer.age_identity()
        for name, data in {
            "not zstd": writer.age(root, recipient), "not age": writer.zstd(root),
            "plain": root, "other key": writer.age(writer.zstd(root), other),
            "the data key": writer.age(writer.zstd(root), chain.data_recipient),
            "cut": sealed[:-1], "longer": sealed + b"x", "twice": sealed * 2, "nothing": b"",
            "zstd cut": writer.age(writer.zstd(root)[:-3], recipient),
            "armoured": writer.age(writer.zstd(root), recipient, armor=True)[:-30],
            "whole, but armoured": writer.age(writer.zstd(root), recipient, armor=True),
            "empty": writer.age(b"", recipient),
        }.items():
            with self.subTest(name):
                object_name = chain.put("index", data)
                writer.commit(chain, writer.manifest(
                    chain, {"tas": [dict(self.record, root=object_name)]}, ID), WORKER)
                self.refused(object_name)

    def test_the_same_chunk_described_twice(self):
        def edit(kind, number, lines):
            if kind == "others":
                return lines
            table = lines[0]["chunks"]
            twice = table + [[table[0][0], "0" * 64, table[0][2]]]
            return [{"chunks": twice}, lines[1], dict(lines[2], parts=[[len(table), 5000, 3000]])] \
                + lines[3:]
        self.sample(edit_page=edit)
        self.refused("different things")


class Signals(Case):

    def test_a_signal_leaves_nothing_and_says_so(self):
        self.sample()
        started = os.path.join(self.folder, "started")
        write(self.folder + "/bin/age", (
            "#!/bin/sh\ntouch %s\nexec sleep 1\n" % started).encode(), 0o755)
        process = subprocess.Popen(
            [sys.executable, "-B", SCRIPT, "recover", "--store", self.store, "--foundation",
             "prod-east", "--backup", ID, "--component", "tas", "--keys", self.keys, "--to",
             self.to], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, PATH=self.folder + "/bin:" + os.environ["PATH"]))
        while not os.path.exists(started):
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        process.terminate()
        _, told = process.communicate()
        self.assertEqual((process.returncode, told.decode()), (
            1, "recover.py: stopped by a signal; run it again with a new --to.\n"))
        self.assertFalse(os.path.exists(self.to))


class Memory(Case):

    def test_a_300_mib_artifact_needs_little_memory(self):
        chain = self.chain()
        source = os.path.join(self.folder, "large")
        os.makedirs(source)
        block = os.urandom(MIB)
        with open(source + "/large", "wb") as file:
            for number in range(270):    # not compressible, not repeating
                file.write(hashlib.sha256(b"%d" % number).digest())
                file.write(block[number:] + block[:number])
        for number in range(3000):
            write(source + "/small/%04d" % number, os.urandom(10 * 1024))
        path = os.path.join(self.folder, "large.tar")
        real_tar(path, source)
        record = writer.write_tar(chain, "tas", "a-0-b.tar", path, chunk_size=2 * MIB,
                                  bbr={"instance": "a", "index": "0", "job": "b"})
        writer.commit(chain, writer.manifest(chain, {"tas": [record]}, ID), WORKER)
        # VmHWM begins anew at exec; ru_maxrss would count the memory of this test's process.
        runner = ("import runpy, sys\n"
                  "sys.argv = sys.argv[1:]\n"
                  "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
                  "except SystemExit:\n"
                  "    status = open('/proc/self/status').read()\n"
                  "    print('peak', status.split('VmHWM:')[1].split()[0])\n"
                  "    raise\n")
        arguments = [sys.executable, "-B", "-c", runner, SCRIPT, "recover", "--store", self.store,
                     "--foundation", "prod-east", "--backup", ID, "--component", "tas", "--keys",
                     self.keys, "--to", self.to, "--jobs", "2"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertSame(self.out("a-0-b.tar"), path)
        told = done.stdout.decode()
        peak = int(re.search(r"peak (\d+)", told).group(1))
        print("\n300 MiB: %s peak %d KiB, cpu %.1f s" % (
            re.search(r"[0-9.]+ MB/s", told).group(), peak,
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), file=sys.stderr)
        self.assertLess(peak, 150 * 1024)


if __name__ == "__main__":
    unittest.main()
