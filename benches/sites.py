#!/usr/bin/env python3
"""What a disaster costs in each topology of docs/standby.md, in a simulation: how long nobody can work (RTO), and what is lost (RPO).

    benches/sites.py                               prints the page
    benches/sites.py --out docs/standby-measured.md

A foundation is backed up twice, 1 % of its blobs and a row a second apart, and then it is gone. A drill restores it where nothing was (cold).
What it restored is the standby from then on: it takes the backup once with all of it sent, and once with the first of the two staged.
Everything is real but Ops Manager, the director and the IaaS, and so are all times but those of Apply Changes, which sleep.
Needs what ci/setup installs and a release build; takes some minutes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(HOME, "ci"), os.path.join(HOME, "benches/compare")]

import demo  # noqa: E402
from demo import Running  # noqa: E402
from measure import upload_time  # noqa: E402
from report import machine  # noqa: E402

# Seconds: the simulated Ops Manager's for an import and for each part of an Apply Changes; from the first backup to the
# second, and from that to the disaster.
IMPORT, APPLY, BETWEEN, AFTER = 5, 8, 20, 15
QUICK = 0.2, 0.2, 3, 3
FAILOVER = ("scale-down", "apply-tas", "tas", "scale-up")
SERVICES = ("recreate-instances", "service-instances")
# Steps of a drill that are no part of a restore.
LOOKING = ("deployments", "instances", "inventory")
BEAT = "create table if not exists beats (at double precision); insert into beats values (extract(epoch from clock_timestamp()))"
LAST_BEAT = "select coalesce(max(at), 0) from beats"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blobs", type=int, default=1024, help="MiB of blobs")
    parser.add_argument("--quick", action="store_true", help="seconds for minutes, to see that it still measures")
    parser.add_argument("--out", help="file for the page")
    parser.add_argument("--programs", default=os.path.join(HOME, "target/release"), help="directory of the programs")
    options = parser.parse_args()
    options.pace = QUICK if options.quick else (IMPORT, APPLY, BETWEEN, AFTER)
    demo.PROGRAMS = options.programs
    demo.WORK = tempfile.mkdtemp(prefix="lifeboat-sites-")
    try:
        text = page(options, Sites(options).measured())
    finally:
        Running.end_all()
        shutil.rmtree(demo.WORK)
    if options.out:
        with open(options.out, "w") as file:
            file.write(text)
    print(text)


class Sites:
    def __init__(self, options):
        self.found = {}
        self.importing, self.applying, self.between, self.after = options.pace
        self.stores = Running({"stores": [{"name": "dc2", "tls": True}]})
        self.origin = Running({**demo.SPEC, "tas": {"blobs": 2000, "big_blobs": options.blobs // 4, "big_bytes": 4 << 20,
                                                    "rows": 1000, "unlock_seconds": 1, "services": 2}})
        self.keys = demo.keygen()
        self.source, params = demo.configuration(self.origin.ready, self.stores.ready, self.keys)
        unused = ("backup", "probes")
        self.origins = written("origin", {**self.source, **{key: value for key, value in params.items() if key not in unused}})

    def measured(self):
        first = self.back_up()
        demo.change(self.origin)
        self.beats(self.between)
        newest = self.back_up()
        self.beats(self.after)
        self.lost = float(self.origin.ask("sql", query=LAST_BEAT)["text"])
        self.found["instances"] = len(self.origin.ready["instances"])
        self.origin.end()
        self.cold(newest)
        self.found["whole"] = self.failover(newest)
        self.run("stage", "tas", first)
        self.found["staged"] = self.failover(newest)
        return self.found

    def back_up(self):
        """All of it; its id."""
        return demo.run("lifeboat", "--config", self.origins, "backup", *demo.COMPONENTS).strip()

    def beats(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.origin.ask("sql", query=BEAT)
            time.sleep(1)

    def behind(self):
        """Seconds of work that the restored database lacks. Forgets what it has, so that another restore must bring it."""
        there = float(self.site.ask("sql", query=LAST_BEAT)["text"])
        if not there:
            raise demo.Failed("the restored database has no beat at all")
        self.site.ask("sql", query="delete from beats")
        return self.lost - there

    def cold(self, backup):
        """A drill, which runs every step, where there is nothing."""
        demo.stemcell_mirror()
        self.site = Running({"opsman": {"state": "fresh", "import_seconds": self.importing, "install_seconds": self.applying}, "postgres": {"rows": 0},
                             "router": True, "capi": {}, "credhub": True})
        about = {"foundation": demo.FOUNDATION, "stores": self.source["stores"], "trusted_workers": self.source["trusted_workers"],
                 "recovery_identity": self.keys["recovery"], "worker_identity": self.keys["worker"],
                 "drill": {"scratch": "site-2"}, "ops_manager": demo.ops_manager(self.site.ready, self.origin.ready),
                 "cloud_controller": {"api": self.site.ready["capi"]["url"], "ca_cert": self.site.ready["ca_cert"]},
                 "credhub": {"url": self.site.ready["credhub"]["url"], "ca_cert": self.site.ready["ca_cert"] + self.origin.ready["ca_cert"]},
                 "stemcells": f"{demo.WORK}/stemcells"}
        # From the drill on it is a foundation that stands, and is restored into as it stands.
        self.config = written("standby", {**about, "in_place": True})
        result = json.loads(demo.run("lifeboat", "--config", written("cold", about), "drill", backup, "--keep", "--json", "--confirm-target", "site-2"))
        steps = {step["name"]: step["ms"] / 1000 for step in result["steps"] if step["name"] not in LOOKING}
        self.found["cold"] = {"steps": steps, "rpo": self.behind()}

    def failover(self, backup):
        """What the jobs `failover` and `failover-service-instances` of pipelines/standby.yml do."""
        steps, upload = {}, None
        for step in FAILOVER + SERVICES:
            began = time.monotonic()
            said = self.run("restore", step, backup)
            steps[step] = time.monotonic() - began
            if step == "tas":
                upload = upload_time(said)
                if upload is None:
                    raise demo.Failed("the log of `restore tas` names no phase `upload`")
        return {"steps": steps, "upload": upload, "rpo": self.behind()}

    def run(self, *arguments):
        """One command; its log."""
        command = [os.path.join(demo.PROGRAMS, "lifeboat"), "--config", self.config, *arguments, "--confirm-target", demo.FOUNDATION]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], "HOME": demo.WORK})
        if done.returncode:
            raise demo.Failed(f"lifeboat {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return demo.plain(done.stderr)


def written(name, configuration):
    """The file of a configuration."""
    path = f"{demo.WORK}/{name}.json"
    with open(path, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump(configuration, file)
    return path


def topologies(found):
    """Name, steps that are left, how long each took, how long the upload among them did, what was lost."""
    cold, whole, staged = found["cold"], found["whole"], found["staged"]
    later = list(cold["steps"])[list(cold["steps"]).index("scale-down"):]
    full = whole["upload"]
    return [
        ("active-active: users", (), {}, None, None),
        ("active-active: the foundation that was lost", tuple(cold["steps"]), cold["steps"], full, cold["rpo"]),
        ("active-passive", FAILOVER, staged["steps"], staged["upload"], staged["rpo"]),
        ("active-passive, nothing staged", FAILOVER, whole["steps"], full, whole["rpo"]),
        ("active-cold", tuple(cold["steps"]), cold["steps"], full, cold["rpo"]),
        ("active-warm", tuple(later), cold["steps"], full, cold["rpo"]),
        ("active-inflate platform", FAILOVER, staged["steps"], staged["upload"], staged["rpo"]),
        ("active-inflate apps", ("scale-up",), staged["steps"], None, None),
    ]


def page(options, found):
    importing, applying, between, after = options.pace
    commit = subprocess.run(["git", "-C", HOME, "log", "-1", "--format=%cs"], capture_output=True, text=True, check=False).stdout.strip()
    lines = [
        "# Standby sites, measured in a simulation", "",
        "Written by `benches/sites.py`; do not edit. What each topology is, and which pipelines run where: [standby.md](standby.md).", "",
        f"- Machine: {machine()}",
        f"- Date: {time.strftime('%Y-%m-%d')}; source of {commit or 'an unknown day'}; load before: {os.getloadavg()[0]:.1f}",
        f"- One run. {options.blobs} MiB of blobs in one blobstore, {found['instances']} instances, PostgreSQL; 1 % of the blobs changed between two backups "
        f"{between} s apart, the disaster {after} s after the second, a row written each second until then",
        f"- Simulated: Ops Manager, director, IaaS. An import takes {importing} s and each part of an Apply Changes {applying} s here; in life tens of minutes and hours. "
        "SSH, instances, scripts, database, stores and all bytes are real, on one machine", "",
        "**RTO** is the sum of the steps that are left; what people do (notice, decide, switch the traffic, make a VM) is not in it. **RPO** is the work that "
        "the restored database lacked: from its last row to the disaster. Both on the newest backup.", "",
        "| Topology | RTO | of it upload | RPO | steps that are left |", "| --- | ---: | ---: | ---: | --- |"]
    for name, steps, times, upload, behind in topologies(found):
        rto = f"{sum(times[step] for step in steps):.0f} s" if steps else "0"
        shown = ", ".join(f"`{step}` {times[step]:.1f} s" for step in steps) or "none of ours: the traffic is switched"
        lines.append(f"| {name} | {rto} | {'' if upload is None else f'{upload:.1f} s'} | "
                     f"{'its replication' if behind is None else f'{behind:.0f} s'} | {shown} |")
    ratio = found["staged"]["upload"] / found["whole"]["upload"]
    lines += ["", f"With the backup before it staged, the upload of a failover took {ratio:.2f} of one with nothing staged. Service instances come after the "
              f"failover (`recreate-instances`, `service-instances`: {sum(found['staged']['steps'][step] for step in SERVICES):.0f} s here).", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
