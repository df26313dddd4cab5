"""What ci/demo shows, step by step; it sets up and builds, this does the rest.

Talks to Lifeboat as Concourse and operators do: JSON on stdin of `check`, `in` and `out`, flags and a configuration of
`lifeboat`. What it knows of the foundation is Ops Manager's address and credentials.
"""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "foundation"))

from running import Running  # noqa: E402

PROGRAMS = os.environ.get("LIFEBOAT_PROGRAMS", os.path.join(ROOT, "target", "debug"))
WORK = os.path.join(ROOT, "target", "demo")
FOUNDATION = "demo"
COMPONENTS = ["ops-manager", "director", "tas", "service-instances"]
SPEC = {"fixture": "ops", "router": True, "tas": {"blobs": 3000, "big_blobs": 8, "rows": 1000, "unlock_seconds": 1, "services": 2}}
# Where each artifact's files come from: component, artifact, its directory inside, instance, directory there.
SOURCES = [
    ("tas", "blobstore-0-blobstore.tar", "./shared/", "blobstore/blobstore-0", "/var/vcap/store/shared"),
    ("director", "bosh-0-blobstore.tar", "./store/", "bosh", "/var/vcap/store/blobstore/store"),
    ("director", "bosh-0-credhub.tar", "./data/", "bosh", "/var/vcap/store/credhub"),
    ("director", "bosh-0-uaa.tar", "./data/", "bosh", "/var/vcap/store/uaa"),
]
BEGAN = time.monotonic()
step_number = 0


class Failed(Exception):
    """The demo did not show what it should; the text says what."""


def step(title, why):
    global step_number
    step_number += 1
    print(f"\n{step_number}. {title}\n   {why}\n", flush=True)


def show(text):
    for line in str(text).rstrip("\n").splitlines():
        print(f"    {line.replace(ROOT + '/', '')}".rstrip(), flush=True)


class Log:
    """A program's log, as it comes; what it found on each instance is counted after the first time."""

    FOUND = re.compile(r" info  (\S+/\S+/\S+|\S+: at (backup|restore), .* is locked before .*)$")
    seen_once = False

    def __init__(self):
        self.found = 0

    def line(self, text):
        if Log.seen_once and self.FOUND.search(text):
            self.found += 1
            return
        self.end()
        show(text)

    def end(self):
        if self.found:
            show(f"         …     {self.found} lines: which scripts were found, which locks wait for which")
        self.found = 0


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def run(program, *arguments, request=None, build=None):
    """One program, its log shown as it comes; returns its standard output."""
    environment = {"PATH": os.environ["PATH"], "HOME": WORK}
    if build:
        environment.update({"BUILD_ID": str(build), "BUILD_NAME": str(build), "BUILD_JOB_NAME": "backup",
                            "BUILD_PIPELINE_NAME": "nightly", "BUILD_TEAM_NAME": "platform",
                            "ATC_EXTERNAL_URL": "https://concourse.example.com"})
    child = subprocess.Popen([os.path.join(PROGRAMS, program), *arguments], env=environment, cwd=WORK,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdin.write(json.dumps(request) if request is not None else "")
    child.stdin.close()
    lines, log = [], Log()
    for line in child.stderr:
        lines.append(plain(line).rstrip())
        log.line(lines[-1])
    log.end()
    output = child.stdout.read()
    if child.wait() != 0:
        raise Failed(f"{program} ended with {child.returncode}: {lines[-1] if lines else 'it said nothing'}")
    return output


def start():
    step("A foundation starts on loopback", "A simulated Ops Manager, Director and UAA; per instance a real sshd with its "
         "own users and /var/vcap; PostgreSQL. A real S3 server elsewhere.")
    stores = Running({"stores": [{"name": "dc2", "tls": True}]})
    running = Running(SPEC)
    ready = running.ready
    show(f"ready after {ready['seconds']:.1f} s: Ops Manager {ready['opsman']['url']}, {len(ready['instances'])} instances, "
         f"{len(ready['director']['deployments'])} deployments")
    show(" ".join(sorted(one["name"] for one in ready["instances"].values())))
    show(f"S3 at {stores.ready['stores']['dc2']['endpoint']}, a directory as the second store")
    return running, stores


def keygen():
    step("Keys: lifeboat keygen", "The worker identity goes to the pipeline; the recovery identity to a safe, with the "
         "sheet. The pipeline never sees it.")
    show(run("lifeboat", "keygen", "--out-dir", f"{WORK}/keys"))
    keys = {name: read(f"{WORK}/keys/{name}") for name in os.listdir(f"{WORK}/keys")}
    return {"worker": keys["worker_identity"], "worker_public": keys["worker_identity.pub"].strip(),
            "recovery": keys["recovery_identity"], "recipient": keys["recovery_identity.pub"].strip(),
            "sheet": keys["recovery-sheet.txt"]}


def ops_manager(ready, first):
    """Where an Ops Manager is, and what only people know: its user, its passphrase, the key of its VM. After an import
    users and passphrase are those of the first one."""
    ssh, about = ready["opsman"]["ssh"], first["opsman"]
    return {"url": ready["opsman"]["url"], "username": about["username"], "password": about["password"],
            "decryption_passphrase": about["decryption_passphrase"], "ca_cert": ready["ca_cert"],
            "ssh_private_key": read(ssh["private_key_file"]), "ssh_host_key": ssh["host_public_key"],
            "ssh_port": int(ssh["address"].rsplit(":", 1)[1])}


def configuration(ready, stores, keys):
    """What an operator would write: source and params."""
    dc2 = stores["stores"]["dc2"]
    os.mkdir(f"{WORK}/nas")
    source = {
        "foundation": FOUNDATION,
        "stores": [
            {"name": "dc2", "bucket": dc2["buckets"][0], "endpoint": dc2["endpoint"], "region": dc2["region"],
             "access_key_id": dc2["access_key_id"], "secret_access_key": dc2["secret_access_key"],
             "ca_cert": stores["ca_cert"], "use_path_style": True},
            {"name": "nas", "path": f"{WORK}/nas"}],
        "min_copies": 2,
        "recipients": [keys["recipient"]],
        "trusted_workers": [keys["worker_public"]],
    }
    router = ready["router"]["url"]
    watched = {"api": "/api/v3/info", "uaa": "/uaa/healthz", "credhub": "/credhub/health", "app": "/app"}
    params = {"backup": COMPONENTS, "probes": [{"name": name, "url": router + path} for name, path in watched.items()],
              "worker_identity": keys["worker"], "ops_manager": ops_manager(ready, ready),
              # Loopback has no names: a real foundation's are asked of Ops Manager.
              "cloud_controller": {"api": ready["capi"]["url"], "ca_cert": ready["ca_cert"]},
              "credhub": {"url": ready["credhub"]["url"], "ca_cert": ready["ca_cert"]}}
    return source, params


def put(source, params, build):
    began = time.monotonic()
    answer = json.loads(run("out", WORK, request={"source": source, "params": params}, build=build))
    Log.seen_once = True
    print()
    show(f"version {json.dumps(answer['version'])}, {time.monotonic() - began:.1f} s")
    return answer


def facts(answer):
    return {pair["name"]: pair["value"] for pair in answer["metadata"]}


def clean(running, when):
    leaks = running.ask("leaks")["leaks"]
    if leaks:
        raise Failed(f"{when}, something is left on the instances: {leaks}")
    locked = [key for key in running.ask("describe")["instances"] if "windows" not in key and running.ask(
        "run", instance=key, script="test -e /var/vcap/sys/run/locked-by-bbr")["status"] == 0]
    if locked:
        raise Failed(f"{when}, these are still locked: {locked}")
    show("the instances: unlocked; no artifact, no marker, no SSH user is left")


def change(running):
    running.ask("churn", instance="blobstore/blobstore-0", path="/var/vcap/store/shared", share=0.01)
    running.ask("sql", query="insert into apps select id + 100000, name, state from apps where id <= 10")


def listed(source, wanted):
    versions = json.loads(run("check", request={"source": source, "version": None}))
    show(json.dumps(versions))
    if [version["id"] for version in versions] != wanted:
        raise Failed(f"check lists {versions}, not {wanted}")


def read(path, mode="r"):
    with open(path, mode) as file:
        return file.read()


def get(source, version, name, **params):
    into = f"{WORK}/{name}"
    os.mkdir(into)
    run("in", into, request={"source": source, "version": version, "params": params}, build=9)
    return into


def tree(directory):
    """Relative path to SHA-256 of every file."""
    found = {}
    for path, _directories, files in os.walk(directory):
        for name in files:
            full = os.path.join(path, name)
            digest = hashlib.sha256()
            with open(full, "rb") as file:
                for piece in iter(lambda: file.read(1 << 20), b""):
                    digest.update(piece)
            found[os.path.relpath(full, directory)] = digest.hexdigest()
    return found


def recover_by_hand(keys, backup, component, into):
    """The blocks of RECOVERY.md, taken from the store, literally."""
    store = f"{WORK}/nas"
    page = read(f"{store}/RECOVERY.md")
    steps = page[:page.index("## 7.")]
    blocks = re.findall(r"^```sh\n(.*?)^```", steps, re.M | re.S)
    if len(blocks) < 5:
        raise Failed("RECOVERY.md has fewer steps than expected")
    digest = hashlib.sha256(read(f"{store}/recover.py", "rb")).hexdigest()
    if digest not in keys["sheet"]:
        raise Failed("recover.py in the store is not the one of the recovery sheet")
    show(f"recover.py has the SHA-256 of the recovery sheet: {digest[:16]}…")
    here = f"{WORK}/by-hand-work"
    os.mkdir(here)
    head = "\n".join(f"{name}='{value}'" for name, value in [
        ("STORE", store), ("FOUNDATION", FOUNDATION), ("BACKUP", backup), ("COMPONENT", component),
        ("RECOVERY_KEY", f"{WORK}/keys/recovery_identity"), ("TRUSTED", keys["worker_public"]), ("TO", into)])
    script = "\n".join(["set -e", head, *blocks])
    for block in blocks:
        for line in block.rstrip().splitlines():
            show(f"$ {line}" if not line.startswith((" ", "fi")) else f"  {line}")
    print()
    done = subprocess.run(["bash", "-c", script], cwd=here, capture_output=True, text=True, check=False,
                          env={"PATH": os.environ["PATH"], "HOME": here})
    show("\n".join((done.stdout + done.stderr).splitlines()[-12:]))
    shutil.rmtree(here)
    if done.returncode != 0:
        raise Failed(f"the steps of RECOVERY.md ended with {done.returncode}")


def compare(fetched, by_hand):
    own, other = tree(fetched), tree(by_hand)
    # bbr's metadata is YAML; the two writers indent and quote differently.
    one, two = (read(f"{directory}/metadata").replace('"', "").split() for directory in (fetched, by_hand))
    if own.pop("metadata") != other.pop("metadata") and one != two:
        raise Failed("bbr's metadata by hand and by `in` differ")
    different = sorted(set(own.items()) ^ set(other.items()))
    if not own or different:
        raise Failed(f"by hand and by `in` differ: {different[:6]}")
    show(f"tas: {len(own)} artifacts by hand, byte for byte those of `in`; the same checksums in bbr's metadata")


def on_instance(running, instance, directory):
    script = f"cd {directory} && find . -type f -print0 | xargs -0 -r sha256sum -z | base64 -w0"
    done = running.ask("run", instance=instance, script=script)
    if done["status"] != 0:
        raise Failed(f"{instance}: {done['stderr']}")
    found = {}
    for record in base64.b64decode(done["stdout"]).split(b"\0"):
        if record:
            digest, name = record.split(b"  ", 1)
            found[name.removeprefix(b"./")] = digest.decode()
    return found


def in_artifact(path, prefix):
    found = {}
    inside = prefix.removeprefix("./").encode()
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        for entry in archive:
            if entry.isreg():
                name = os.fsencode(entry.name).removeprefix(b"./")
                if not name.startswith(inside):
                    raise Failed(f"{path}: {entry.name} is not below {prefix}")
                found[name.removeprefix(inside)] = hashlib.sha256(archive.extractfile(entry).read()).hexdigest()
    return found


def compare_with_instances(running, fetched):
    total = 0
    for component, artifact, prefix, instance, directory in SOURCES:
        there, here = on_instance(running, instance, directory), in_artifact(f"{fetched}/{component}/{artifact}", prefix)
        if not here or there != here:
            missing = sorted(set(there.items()) ^ set(here.items()))[:4]
            raise Failed(f"{artifact} is not what {instance} holds: {missing}")
        total += len(here)
        show(f"{component}: {artifact}: {len(here)} files, each with the SHA-256 it has on {instance}")
    return total


def redis_instances(running):
    return sorted(key for key in running.ask("describe")["instances"] if "/redis/" in key)


def data(running):
    """Everything that a restore must bring back, by name."""
    files = {f"files of {directory} on {instance}": on_instance(running, instance, directory)
             for _component, _artifact, _prefix, instance, directory in SOURCES}
    files |= {f"files of {key.split('/')[0]}": on_instance(running, key, "/var/vcap/store/redis")
              for key in redis_instances(running)}
    rows = running.ask("director-db")["rows"]
    database = {name: rows[name] for name in ("uuid", "releases")}
    # The steps note in a config of their own how far they are.
    database["configs"] = [(row["type"], row["name"], row["content"]) for row in rows["configs"] if row["type"] != "lifeboat"]
    # An image of the IaaS has another id here.
    database["stemcells"] = [(row["name"], row["version"], row["operating_system"]) for row in rows["stemcells"]]
    database["deployments"] = {name: one["manifest"] for name, one in rows["deployments"].items()}
    tables = {f"rows of the table {table}": running.ask(
        "sql", query=f"select count(*), md5(string_agg(t::text, ',' order by id)) from {table} t")["text"].strip()
        for table in ("apps", "blobs")}
    return files | tables | {f"director's database: {name}": found for name, found in database.items()}


def stemcell_mirror():
    """What the vendor's download gives: here a tarball with the description of one, and no image worth its name."""
    os.mkdir(f"{WORK}/stemcells")
    image = b"an image for loopback"
    name = "bosh-test-ubuntu-jammy-go_agent"
    about = (f"name: {name}\nversion: '1.500'\nbosh_protocol: 1\napi_version: 3\n"
             f"sha1: {hashlib.sha1(image).hexdigest()}\noperating_system: ubuntu-jammy\ncloud_properties: {{}}\n")
    with tarfile.open(f"{WORK}/stemcells/{name}-1.500.tgz", "w:gz") as archive:
        for entry, content in (("stemcell.MF", about.encode()), ("image", image)):
            head = tarfile.TarInfo(entry)
            head.size = len(content)
            archive.addfile(head, io.BytesIO(content))


def canary(second):
    """What the drill asks of the restored foundation: an app behind the router, a row, a blob."""
    router = second.ready["router"]["url"]
    row = ". /var/lib/foundation/postgres.env; psql -X -A -t -c 'select name from apps where id = 7'"
    blob = "find /var/vcap/store/shared -type f | wc -l"
    return {"scratch": "scratch-1", "timeout": "1m", "checks": [
        {"name": "app", "url": f"{router}/app", "contains": "the canary answers"},
        {"name": "row", "instance": "backup_restore/0", "command": row, "contains": "app-7"},
        {"name": "blobs", "instance": "blobstore/0", "command": blob, "contains": "3"}]}


def drilled(running, source, keys, backup):
    """The foundation is lost; a second one, empty, takes its place: by a drill, which runs the steps of a restore."""
    step("The foundation is lost", "What it held is noted, then all of it is gone: VMs, disks, Ops Manager. The stores are elsewhere.")
    wanted, first = data(running), running.ready
    running.end()
    stemcell_mirror()
    second = Running({"opsman": {"state": "fresh"}, "postgres": {"rows": 0}, "router": True, "capi": {}, "credhub": True})
    show(f"{len(first['instances'])} instances are gone; a new Ops Manager VM at {second.ready['opsman']['url']}, not set up; "
         f"nothing else: {len(second.ready['instances'])} VM, no director, an empty IaaS")
    config = f"{WORK}/restore.json"
    with open(config, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump({"foundation": FOUNDATION, "stores": source["stores"], "trusted_workers": source["trusted_workers"],
                   "recovery_identity": keys["recovery"], "worker_identity": keys["worker"], "drill": canary(second),
                   "ops_manager": ops_manager(second.ready, first),
                   "cloud_controller": {"api": second.ready["capi"]["url"], "ca_cert": second.ready["ca_cert"]},
                   # Its UAA is the restored director's, with a certificate of the lost foundation's CA.
                   "credhub": {"url": second.ready["credhub"]["url"], "ca_cert": second.ready["ca_cert"] + first["ca_cert"]},
                   "stemcells": f"{WORK}/stemcells", "id": backup}, file)
    step("lifeboat restore plan", "What a restore of this backup takes on this target: what is automatic, what a person does "
         "or decides, how long it may take.")
    show(run("lifeboat", "--config", config, "restore", "plan"))
    step("lifeboat drill --keep --confirm-target scratch-1", "The restore, rehearsed: it makes sure that nothing of the lost "
         "foundation can be reached, runs every step, asks for an app, a row and the blobs, and measures.")
    log = run("lifeboat", "--config", config, "drill", "--keep", "--json", "--confirm-target", "scratch-1")
    result = json.loads(log)
    times = {one["name"]: one["ms"] / 1000 for one in result["steps"]}
    for one in result["steps"]:
        show(f"{'ok' if one['ok'] else 'FAILED':8}{one['name']:22}{one['ms'] / 1000:6.1f} s   {one['said'][0] if one['said'] else ''}")
    show(f"recovery time {result['rto_ms'] / 1000:.1f} s; the restored data was {result['rpo_ms'] / 1000:.0f} s old")
    for note in result["notes"]:
        show(note)
    step("Everything compared with what was lost", "Files by SHA-256, rows of the Cloud Controller's database, the director's own.")
    found = data(second)
    for name, value in wanted.items():
        if not value or found.get(name) != value:
            raise Failed(f"after the restore, {name} is not what it was")
        show(f"equal: {name}" + (f" ({len(value)})" if isinstance(value, (dict, list)) else ""))
    clean(second, "after the restore")
    step("lifeboat drill-cleanup --confirm-target scratch-1", "Everything that the drill made is deleted again.")
    show(run("lifeboat", "--config", config, "drill-cleanup", "--confirm-target", "scratch-1"))
    left = second.ask("iaas")["vms"]
    if left:
        raise Failed(f"the drill's cleanup left {len(left)} VMs")
    return times, sum(len(value) for name, value in wanted.items() if name.startswith("files"))


def report_page(source):
    """Stays behind when everything else is removed: somebody may want to look at it."""
    step("lifeboat report --html", "How all of it stands, on one page: backups and their proofs, how long a restore takes, what would be lost.")
    page = os.path.join(ROOT, "target", "demo-report.html")
    config = f"{WORK}/report.json"
    with open(config, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump({"foundation": FOUNDATION, "stores": source["stores"], "trusted_workers": source["trusted_workers"]}, file)
    show(run("lifeboat", "--config", config, "report", "--html", page))
    if "drilled" not in read(page):
        raise Failed(f"{page} does not tell of the drill")
    return page


def stored_in(directory):
    sizes = [os.path.getsize(os.path.join(path, name)) for path, _d, files in os.walk(directory) for name in files]
    return f"{len(sizes)} objects, {sum(sizes) / (1 << 20):.1f} MiB"


def summary(first, second, compared, times, restored):
    print("\nSummary\n")
    for title, answer in (("first backup", first), ("second backup", second)):
        found = facts(answer)
        print(f"    {title} {answer['version']['id']}")
        for name in ("components", "api_unavailable", "downtime_seen", "drained", "changed", "stored", "copies", "base", "signed_by", "duration"):
            print(f"        {name:20} {found.get(name, '-')}")
    print(f"        {'second store':20} {stored_in(WORK + '/nas')} for both backups")
    print("    checked")
    print(f"        {'with instances':20} {compared} files, no difference")
    print(f"        {'by hand':20} tas recovered with age, zstd and Python from the second store, no difference")
    print("    drilled: restored into an empty foundation, verified, deleted")
    for name, seconds in times.items():
        print(f"        {name:20} {seconds:.1f} s")
    print(f"        {'all steps':20} {sum(times.values()):.1f} s; {restored} files and every row equal to what was lost")


def demo():
    running, stores = start()
    keys = keygen()
    source, params = configuration(running.ready, stores.ready, keys)
    step("The first put: out", "Ops Manager's address and credentials are all it is told. Settings, director, TAS, service "
         "instances: checked, locked, backed up, unlocked, drained into both stores; the manifest last.")
    first = put(source, params, 1)
    clean(running, "after the first backup")
    step("The second night: 1 % of the blobs and ten rows have changed", "The same put in another build continues the chain: "
         "only what changed crosses the wire.")
    change(running)
    second = put(source, params, 2)
    show(f"stored this time: {facts(second).get('stored', '?')}, after {facts(first).get('stored', '?')} the first time")
    ids = [first["version"]["id"], second["version"]["id"]]
    step("check", "Both are complete in both stores, so both are listed, oldest first.")
    listed(source, ids)
    step("in, without download", "The get behind a put: one small read, no key.")
    backup = json.loads(read(get(source, second["version"], "get") + "/backup.json"))
    show("backup.json: " + json.dumps({key: value for key, value in backup.items() if not isinstance(value, (dict, list))}, indent=2))
    step("The ensure of every backup job: out with cleanup", "After a good backup there is nothing to mend, so it touches nothing.")
    run("out", WORK, request={"source": source, "params": {
        key: value for key, value in params.items() if key != "backup"} | {"cleanup": COMPONENTS[1:]}}, build=2)
    clean(running, "after the cleanup")
    step("in, with download", "This job holds the recovery identity. One folder per component, in bbr's own layout, every file "
         "verified.")
    fetched = get(source, second["version"], "fetched", download=True, recovery_identity=keys["recovery"])
    for component in ("ops-manager", "director", "tas"):
        show(f"{component}/: {' '.join(sorted(os.listdir(f'{fetched}/{component}')))}")
    step("Recovery without Lifeboat", "age, zstd and Python, by the steps of the RECOVERY.md that lies in the store.")
    recover_by_hand(keys, ids[1], "tas", f"{WORK}/by-hand")
    step("Every file compared", "By hand with `in`, and `in` with what the instances hold.")
    compare(f"{fetched}/tas", f"{WORK}/by-hand")
    compared = compare_with_instances(running, fetched)
    times, restored = drilled(running, source, keys, ids[1])
    page = report_page(source)
    summary(first, second, compared, times, restored)
    print(f"    the page: {page}")


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK, mode=0o700)
    try:
        demo()
    except Failed as failed:
        print(f"\nci/demo failed: {failed}\nWhat it made is kept in target/demo.", file=sys.stderr)
        return 1
    finally:
        Running.end_all()
    shutil.rmtree(WORK)
    print(f"\nci/demo: all steps done in {time.monotonic() - BEGAN:.0f} s; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
