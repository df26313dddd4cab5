"""What the director does to make a deployment be as its manifest says, and to take it away: VMs, disks, errands.

Part of the director. The scripts and files of a job come out of the blobstore, where its release was put; so a director
without its blobs can deploy nothing.
"""

import copy
import json
import time
import uuid

from database import stamp
from iaas import CloudError, NotImplementedByCpi
from tasks import DirectorError
from yaml_reader import YamlError, parse

ON_DEMAND = "service-instance_"


class Deploying:
    """Mixed into the director; uses its `db`, `blobs`, `iaas`, `locked` and `members`."""

    def deploy(self, task, text, options):
        manifest = read_manifest(text)
        name = manifest["name"]
        with self.locked(task, f"lock:deployment:{name}"):
            known = self.db["deployments"].get(name)
            stage = "Preparing deployment"
            with self.db.change() as rows:
                rows["deployments"].setdefault(name, {
                    "name": name, "manifest": "", "releases": [], "stemcells": [], "variables": [],
                    "teams": options.get("teams", [])})
            stemcells = {entry.get("alias"): self.find_stemcell(entry) for entry in manifest.get("stemcells") or []}
            groups = [self.plan_group(group, manifest) for group in manifest.get("instance_groups") or []]
            task.stage(stage, stage)
            for group in groups:
                for index in range(group["count"] if group["lifecycle"] == "service" else 0):
                    row = self.row_of(name, group, index)
                    stemcell = stemcells.get(group["stemcell"]) or next(iter(stemcells.values()), None)
                    self.update_instance(task, row, group, stemcell, known, options)
            for row in self.db.instances_of(name):
                wanted = next((group for group in groups if group["name"] == row["job"]), None)
                if wanted is None or row["index"] >= wanted["count"]:
                    self.delete_instance(task, row)
            with self.db.change() as rows:
                kept = rows["deployments"][name]
                kept.update(
                    manifest=text, stemcells=[{"name": one["name"], "version": one["version"]}
                                              for one in stemcells.values()],
                    releases=[{"name": one["name"], "version": str(one["version"])}
                              for one in manifest.get("releases") or []])
                if manifest.get("variables"):
                    kept["variables"] = [{"id": str(number), "name": f"/{self.name_in_credhub}/{name}/{one['name']}"}
                                         for number, one in enumerate(manifest["variables"], 1)]
            self.tell_groups(name)
        task.summary = f"/deployments/{name}"

    def plan_group(self, group, manifest):
        """A group of the manifest with its jobs as the releases in the blobstore have them."""
        versions = {one["name"]: str(one.get("version")) for one in manifest.get("releases") or []}
        jobs = {}
        for job in group.get("jobs") or []:
            release = job.get("release")
            if release not in versions:
                raise DirectorError(140002, f"Instance group '{group['name']}' references an unknown release "
                                    f"'{release}'")
            jobs[job["name"]] = self.job_template(release, versions[release], job["name"])
        return {"name": group["name"], "count": int(group.get("instances", 1)), "jobs": jobs,
                "stemcell": group.get("stemcell"), "lifecycle": group.get("lifecycle", "service"),
                "disk": int(group.get("persistent_disk") or 0), "az": (group.get("azs") or ["z1"])[0]}

    def job_template(self, release, version, name):
        found = [row for row in self.db["releases"] if row["name"] == release]
        if not found:
            raise DirectorError(30005, f"Release '{release}' doesn't exist")
        if version == "latest":
            version = found[-1]["version"]
        row = next((row for row in found if row["version"] == version), None)
        if row is None:
            raise DirectorError(30006, f"Release version '{release}/{version}' doesn't exist")
        if name not in row["jobs"]:
            raise DirectorError(140029, f"Release '{release}/{version}' has no job '{name}'")
        blob = self.blobs.get(row["jobs"][name])
        if blob is None:
            raise DirectorError(100, f"Blob '{row['jobs'][name]}' of job '{name}' of release '{release}/{version}' "
                                "could not be fetched: the object does not exist in the blobstore")
        return json.loads(blob)

    def find_stemcell(self, wanted):
        version, by = str(wanted.get("version")), "operating_system" if wanted.get("os") else "name"
        which = wanted.get("os") or wanted.get("name")
        found = [row for row in self.db["stemcells"] if row[by] == which]
        if version == "latest":
            if not found:
                raise DirectorError(50003, f"Stemcell with Operating System '{which}' doesn't exist")
            return found[-1]
        row = next((row for row in found if row["version"] == version), None)
        if row is None:
            raise DirectorError(50003, f"Stemcell version '{version}' for OS '{which}' doesn't exist"
                                if wanted.get("os") else f"Stemcell '{which}/{version}' doesn't exist")
        return row

    def row_of(self, deployment, group, index):
        row = next((row for row in self.db.instances_of(deployment)
                    if row["job"] == group["name"] and row["index"] == index), None)
        if row is None:
            with self.db.change() as rows:
                row = {"id": self.db.next_id("instance"), "deployment": deployment, "job": group["name"],
                       "uuid": self.new_uuid(group["name"], index), "index": index, "bootstrap": index == 0,
                       "az": group["az"], "state": "started", "ignore": False, "lifecycle": group["lifecycle"],
                       "vm": None, "disks": []}
                rows["instances"].append(row)
        return row

    def new_uuid(self, _group, _index):
        return str(uuid.uuid4())

    def update_instance(self, task, row, group, stemcell, known, options):
        """As a deploy does: a VM that runs what it should is left alone, one that does not answer stops it."""
        name = f"{row['job']}/{row['uuid']} ({row['index']})"
        fix, vm = options.get("fix"), row["vm"]
        answers = self.iaas.agent(vm["agent_id"]) if vm else None
        if vm and not answers and not fix:
            raise DirectorError(450002, f"Timed out sending 'get_state' to instance: '{row['job']}/{row['uuid']}', "
                                f"agent-id: '{vm['agent_id']}' after 45 seconds")
        with self.db.change():
            row["lifecycle"] = group["lifecycle"]
        recreate = asked_for(row, options.get("recreate")) or vm and not answers
        if vm and (vm["stemcell_name"], vm["stemcell_version"]) != (stemcell["name"], stemcell["version"]):
            recreate = True
        if not vm or recreate:
            if vm:
                self.delete_vm_of(row)
            if group["disk"] and not row["disks"]:
                self.add_disk(row, group["disk"])
            task.stage(f"{'Updating' if known else 'Creating missing'} vms", name)
            self.create_vm_of(row, group["jobs"], stemcell)
        else:
            machine = answers["instance"]
            if machine is not None and machine.spec.get("template") != group["jobs"]:
                machine.set_jobs(group["jobs"])
            if group["disk"] and not row["disks"]:
                self.add_disk(row, group["disk"])
                self.iaas.attach_disk(vm["cid"], row["disks"][0]["disk_cid"])
        task.stage(f"Updating instance {row['job']}", name)

    def add_disk(self, row, size):
        with self.db.change():
            row["disks"].append({"id": self.db.next_id("disk"), "disk_cid": self.iaas.create_disk(size), "size": size,
                                 "active": True})

    def create_vm_of(self, row, jobs=None, stemcell=None):
        """A new VM for an instance, with its active disk; the jobs are those of the manifest unless given."""
        if jobs is None:
            manifest = read_manifest(self.db["deployments"][row["deployment"]]["manifest"])
            group = next(one for one in manifest["instance_groups"] if one["name"] == row["job"])
            jobs = self.plan_group(group, manifest)["jobs"]
            wanted = next((one for one in manifest["stemcells"] if one.get("alias") == group.get("stemcell")),
                          manifest["stemcells"][0])
            stemcell = self.find_stemcell(wanted)
        agent_id, key = str(uuid.uuid4()), f"{row['deployment']}/{row['job']}/{row['uuid']}"
        spec = {"id": row["uuid"], "index": row["index"], "bootstrap": row["bootstrap"], "key": key,
                "jobs": copy.deepcopy(jobs), "template": copy.deepcopy(jobs)}
        cid = self.iaas.create_vm(stemcell["cid"], agent_id, key, f"{row['job']}/{row['uuid']}", spec,
                                  [disk["disk_cid"] for disk in row["disks"] if disk["active"]])
        self.members[key] = spec
        with self.db.change():
            row["vm"] = {"cid": cid, "agent_id": agent_id, "stemcell_name": stemcell["name"],
                         "stemcell_version": stemcell["version"], "created_at": stamp(),
                         "ips": [f"127.0.0.1:{self.instances[key].port}"]}
        self.tell_groups(row["deployment"])

    def delete_vm_of(self, row):
        if row["vm"] is None:
            return
        try:
            self.iaas.delete_vm(row["vm"]["cid"])
        except CloudError:
            pass  # gone already
        key = f"{row['deployment']}/{row['job']}/{row['uuid']}"
        if not self.iaas.agent(row["vm"]["agent_id"], own=True):
            self.instances.pop(key, None)
        with self.db.change():
            row["vm"] = None

    def delete_instance(self, task, row):
        vm = row["vm"]
        if vm and self.iaas.agent(vm["agent_id"]) is None:
            try:
                present = self.iaas.has_vm(vm["cid"])
            except NotImplementedByCpi:
                present = True
            if present:
                raise DirectorError(450002, f"Timed out sending 'stop' to instance: '{row['job']}/{row['uuid']}', "
                                    f"agent-id: '{vm['agent_id']}' after 45 seconds")
        self.delete_vm_of(row)
        for disk in list(row["disks"]):
            self.orphan_disk(row, disk)
        with self.db.change() as rows:
            rows["instances"] = [one for one in rows["instances"] if one["id"] != row["id"]]
        task.stage("Deleting unneeded instances", f"{row['job']}/{row['uuid']} ({row['index']})")

    def delete_deployment(self, task, name, force=False):
        with self.locked(task, f"lock:deployment:{name}"):
            for row in self.db.instances_of(name):
                try:
                    self.delete_instance(task, row)
                except DirectorError:
                    if not force:
                        raise
                    with self.db.change():
                        row["vm"] = None
                    self.delete_instance(task, row)
            with self.db.change() as rows:
                self.db.close_problems(name)
                rows["deployments"].pop(name)
        task.summary = f"/deployments/{name}"

    def tell_groups(self, deployment):
        """Every machine of a deployment can read how many instances each group has."""
        counts = {}
        for row in self.db.instances_of(deployment):
            counts[row["job"]] = counts.get(row["job"], 0) + 1
        text = "".join(f"{job} {count}\n" for job, count in counts.items())
        for row in self.db.instances_of(deployment):
            machine = self.instances.get(f"{deployment}/{row['job']}/{row['uuid']}")
            if machine is not None:
                machine.write("var/lib/foundation/groups", text)

    # -- errands -------------------------------------------------------------------------------------------

    def errands(self, deployment):
        """name -> (group, job template or None for a group that is an errand as a whole)."""
        found = {}
        manifest = read_manifest(self.db["deployments"][deployment]["manifest"])
        for group in manifest.get("instance_groups") or []:
            if group.get("lifecycle") == "errand":
                found[group["name"]] = (group, None)
            for name, job in self.plan_group(group, manifest)["jobs"].items():
                if job.get("errand") and group.get("lifecycle") != "errand":
                    found[name] = (group, job)
        return found

    def run_errand(self, task, deployment, name, options):
        with self.locked(task, f"lock:deployment:{deployment}"):
            group, job = self.errands(deployment).get(name, (None, None))
            if group is None:
                raise DirectorError(510000, f"Errand '{name}' doesn't exist")
            rows = [row for row in self.db.instances_of(deployment) if row["job"] == group["name"]]
            machine = None
            if job is None:  # a group that exists only for the errand: its VM is made and removed around it
                jobs = self.plan_group(group, read_manifest(self.db["deployments"][deployment]["manifest"]))["jobs"]
                job = next((one for one in jobs.values() if one.get("errand")), {})
                instance = {"group": group["name"], "id": str(uuid.uuid4())}
            else:
                row = rows[0] if rows else {"uuid": "?", "vm": None}
                agent = row["vm"]["agent_id"] if row["vm"] else ""
                answers = self.iaas.agent(agent)
                if not answers:
                    raise DirectorError(450002, f"Timed out sending 'run_errand' to instance: '{group['name']}/"
                                        f"{row['uuid']}', agent-id: '{agent}' after 45 seconds")
                instance, machine = {"group": group["name"], "id": row["uuid"]}, answers["instance"]
            action = {"recreate-all": self.recreate_all, "upgrade-all": self.upgrade_all,
                      "orphan-deployments": self.orphan_deployments}.get(job.get("errand"))
            if action:
                status, out, err = action(task, deployment)
            elif job.get("errand") == "script" and machine:
                status, raw_out, raw_err = machine.execute(
                    ["/bin/bash", "-c", f"/var/vcap/jobs/{name}/bin/run"], timeout=300)
                out, err = raw_out.decode(errors="replace"), raw_err.decode(errors="replace")
            else:
                status, out, err = 0, f"{name}: done\n", ""
        result = {"instance": instance, "errand_name": name, "exit_code": status, "stdout": out, "stderr": err,
                  "logs": {"blobstore_id": None, "sha1": None}}
        task.summary = f"{int(status == 0)} succeeded, {int(status != 0)} errored, 0 canceled"
        return json.dumps(result) + "\n"

    def on_demand(self, broker):
        return [name for name, row in sorted(self.db["deployments"].items())
                if name.startswith(ON_DEMAND) and row.get("teams", []) in ([], [broker])]

    def recreate_all(self, _task, broker):
        """As the broker's errand for disaster recovery: every instance is deployed anew, with fix, one after the
        other; each is a task of its own."""
        lines = []
        for name in self.on_demand(broker):
            text = self.db["deployments"][name]["manifest"]
            began = time.monotonic()
            made = self.tasks.start(f"create deployment {name}", name, lambda one, text=text: self.deploy(
                one, text, {"recreate": True, "fix": True}), "update_deployment")
            made.finished.wait()
            if made.outcome != "done":
                lines.append(f"[recreate-all] FAILED: {name}: {made.summary} (task {made.number})")
                return 1, "\n".join(lines) + "\n", f"recreate-all: {name} failed\n"
            lines.append(f"[recreate-all] Result: instance {name} recreated in {time.monotonic() - began:.1f} s")
        lines.append(f"[recreate-all] FINISHED: number of successful operations: {len(lines)}; failed: 0")
        return 0, "\n".join(lines) + "\n", ""

    def upgrade_all(self, _task, broker):
        """The catalogue says that every instance is at the current version already: nothing is done to any."""
        names = self.on_demand(broker)
        lines = [f"[upgrade-all] Result: instance {name} is already at the current maintenance version, skipped"
                 for name in names]
        lines.append(f"[upgrade-all] FINISHED: upgraded: 0; skipped: {len(names)}; failed: 0")
        return 0, "\n".join(lines) + "\n", ""

    def orphan_deployments(self, _task, _broker):
        return 0, "[]\n", ""


def asked_for(row, which):
    """Is this instance to be made anew: all (true), or those of a group, or one of them by id or index?"""
    if not isinstance(which, dict):
        return bool(which)
    return which["group"] in (None, row["job"]) and which["instance"] in (None, row["uuid"], str(row["index"]))


def read_manifest(text):
    try:
        manifest = parse(text)
    except (YamlError, IndexError) as error:
        raise DirectorError(710000, f"Incorrect YAML structure of the uploaded manifest: {error}") from None
    if not isinstance(manifest, dict):
        raise DirectorError(710000, "Manifest should be a hash")
    if not manifest.get("name"):
        raise DirectorError(40001, "Deployment manifest must have a 'name' key")
    return manifest
