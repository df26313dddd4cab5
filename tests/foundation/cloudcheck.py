"""Cloud check: what a scan finds wrong with a deployment's VMs and disks, and what may be done about it.

Part of the director. A scan believes an agent that answers, else what the CPI says, else nothing.
"""

import time

from database import stamp
from iaas import CloudError, NotImplementedByCpi
from tasks import DirectorError
from web import Answer

IGNORE = ("ignore", "Skip for now")
RECREATE = (("recreate_vm_without_wait", "Recreate VM without waiting for processes to start"),
            ("recreate_vm", "Recreate VM and wait for processes to start"))
RESOLUTIONS = {
    "missing_vm": (IGNORE, *RECREATE, ("delete_vm_reference", "Delete VM reference")),
    "unresponsive_agent": (
        IGNORE, ("reboot_vm", "Reboot VM"), *RECREATE, ("delete_vm", "Delete VM"),
        ("delete_vm_reference",
         "Delete VM reference (forceful; may need to manually delete VM from the Cloud to avoid IP conflicts)")),
    "missing_disk": (IGNORE, ("delete_disk_reference", "Delete disk reference (DANGEROUS!)")),
    "inactive_disk": (IGNORE, ("delete_disk", "Delete disk"), ("activate_disk", "Activate disk")),
    "mount_info_mismatch": (("ignore", "Ignore"), ("reattach_disk", "Reattach disk to instance"),
                            ("reattach_disk_and_reboot", "Reattach disk and reboot instance")),
    "invalid_problem": (("close", "Close problem"),),
}
BUSY = "Unable to get deployment lock, maybe a deployment is in progress. Try again later."
AUTOMATIC = {"missing_vm": "recreate_vm_without_wait", "invalid_problem": "close"}


class Cloudcheck:
    """Mixed into the director; uses its `db`, `iaas`, `locked` and `create_vm_of`."""

    def scan(self, task, deployment):
        with self.locked(task, f"lock:deployment:{deployment}", wait=0, otherwise=BUSY):
            with self.db.change():
                self.db.close_problems(deployment)
            rows = [row for row in self.db.instances_of(deployment)
                    if row["lifecycle"] == "service" and row["state"] != "detached" and not row["ignore"]]
            counts, owners = {"ok": 0, "unresponsive": 0, "missing": 0}, {}
            for row in rows:
                counts[self.scan_vm(deployment, row, owners)] += 1
            task.stage(f"Scanning {len(rows)} VMs", "Checking VM states", 1, 2)
            task.stage(f"Scanning {len(rows)} VMs", f"{counts['ok']} OK, {counts['unresponsive']} unresponsive, "
                       f"{counts['missing']} missing, 0 unbound", 2, 2)
            disks = [(row, disk) for row in self.db.instances_of(deployment) if not row["ignore"]
                     for disk in row["disks"]]
            found = {"ok": 0, "missing": 0, "inactive": 0, "mount_info_mismatch": 0}
            for row, disk in disks:
                found[self.scan_disk(deployment, row, disk, owners)] += 1
            task.stage(f"Scanning {len(disks)} persistent disks", "Looking for inactive disks", 1, 2)
            task.stage(f"Scanning {len(disks)} persistent disks", f"{found['ok']} OK, {found['missing']} missing, "
                       f"{found['inactive']} inactive, {found['mount_info_mismatch']} mount-info mismatch", 2, 2)
        task.summary = "scan complete"

    def scan_vm(self, deployment, row, owners):
        vm = row["vm"]
        answer = self.iaas.agent(vm["agent_id"]) if vm else None
        if answer:
            for disk in answer["disks"][:1]:
                owners.setdefault(disk, []).append(vm["cid"])
            return "ok"
        for disk in row["disks"]:
            if disk["active"]:
                owners.setdefault(disk["disk_cid"], []).append(vm["cid"] if vm else None)
        try:
            # An instance without a VM is missing it: its reference may have been deleted a moment ago.
            if vm is None or not self.iaas.has_vm(vm["cid"]):
                self.problem("missing_vm", deployment, row["id"])
                return "missing"
        except NotImplementedByCpi:
            pass
        self.problem("unresponsive_agent", deployment, row["id"])
        return "unresponsive"

    def scan_disk(self, deployment, row, disk, owners):
        try:
            if not self.iaas.has_disk(disk["disk_cid"]):
                self.problem("missing_disk", deployment, disk["id"])
                return "missing"
        except NotImplementedByCpi:
            pass
        if not disk["active"]:
            self.problem("inactive_disk", deployment, disk["id"])
            return "inactive"
        if row["vm"] is None:
            return "ok"
        if owners.get(disk["disk_cid"], []) != [row["vm"]["cid"]]:
            self.problem("mount_info_mismatch", deployment, disk["id"],
                         {"owner_vms": owners.get(disk["disk_cid"], [])})
            return "mount_info_mismatch"
        return "ok"

    def problem(self, kind, deployment, resource, data=None):
        with self.db.change() as rows:
            rows["problems"].append({"id": self.db.next_id("problem"), "type": kind, "deployment": deployment,
                                     "resource_id": resource, "state": "open", "data": data or {},
                                     "created_at": stamp()})

    # -- what is told of a problem --------------------------------------------------------------------

    def problems(self, deployment):
        found = []
        for problem in self.db["problems"]:
            if problem["deployment"] == deployment and problem["state"] == "open":
                kind, description, group, _row, _disk = self.diagnosis(problem)
                found.append({"id": problem["id"], "type": problem["type"], "data": problem["data"],
                              "description": description,
                              "resolutions": [{"name": name, "plan": plan} for name, plan in RESOLUTIONS[kind]],
                              "instance_group": group})
        return Answer.json(found)

    def diagnosis(self, problem):
        """(kind, description, group, instance row, disk row) as things are now."""
        kind = problem["type"]
        if kind in ("missing_vm", "unresponsive_agent"):
            row, disk = self.db.by_id("instances", problem["resource_id"]), None
            if row is None or kind == "unresponsive_agent" and row["vm"] is None:
                return self.invalid(problem, "VM '' is no longer in the database")
            name = f"{row['job']}/{row['uuid']} ({row['index']})"
            cloud = f" with cloud ID '{row['vm']['cid']}'" if row["vm"] else ""
            end = "missing." if kind == "missing_vm" else "is not responding."
            return kind, f"VM for '{name}'{cloud} {end}", row["job"], row, disk
        row, disk = self.db.disk(problem["resource_id"])
        if disk is None:
            return self.invalid(problem, f"Disk '{problem['resource_id']}' is no longer in the database")
        cid, place = disk["disk_cid"], f"{row['job']}/{row['uuid']}"
        if kind == "missing_disk":
            return kind, f"Disk '{cid}' ({place}, {disk['size']}M) is missing", row["job"], row, disk
        if kind == "inactive_disk":
            if disk["active"]:
                return self.invalid(problem, f"Disk '{cid}' is no longer inactive")
            return kind, (f"Disk '{cid}' ({disk['size']}M) for instance '{place} ({row['index']})' is inactive"), \
                row["job"], row, disk
        if row["vm"] is None:
            return self.invalid(problem, f"Can't find corresponding vm-cid for disk '{cid}'")
        owners = problem["data"]["owner_vms"]
        where = f"\tMounted on: {', '.join(owners)}" if owners else "\tNot mounted in any VM"
        return kind, (f"Inconsistent mount information:\nRecord shows that disk '{cid}' should be mounted on "
                      f"{row['vm']['cid']}.\nHowever it is currently :\n{where}"), row["job"], row, disk

    @staticmethod
    def invalid(problem, why):
        return "invalid_problem", f"Problem ({problem['type']} {problem['resource_id']}) is no longer valid: {why}", \
            "unknown job", None, None

    # -- what is done about it -----------------------------------------------------------------------------

    def resolve(self, task, deployment, resolutions):
        """`resolutions`: problem id -> name, or null for the automatic one. Ids of no problem here are passed over."""
        if not isinstance(resolutions, dict):
            raise DirectorError(410003, "Invalid format for resolutions, Hash expected, "
                                f"{type(resolutions).__name__} is given")
        wanted = {str(number): name for number, name in resolutions.items()}
        with self.locked(task, f"lock:deployment:{deployment}"):
            chosen = [problem for problem in self.db["problems"]
                      if problem["deployment"] == deployment and str(problem["id"]) in wanted]
            resolved, errors = 0, []
            for index, problem in enumerate(chosen, 1):
                if problem["state"] != "open":
                    task.stage("Applying problem resolutions",
                               f"Ignoring problem {problem['id']} (state is '{problem['state']}')", index, len(chosen))
                    continue
                kind, description, _group, row, disk = self.diagnosis(problem)
                name = wanted[str(problem["id"])] or AUTOMATIC.get(kind, "ignore")
                plan = dict(RESOLUTIONS[kind]).get(name)
                task.stage("Applying problem resolutions", f"{description} ({problem['type']} "
                           f"{problem['resource_id']}): {plan or 'no resolution'}", index, len(chosen))
                try:
                    if plan is None:
                        raise DirectorError(100, f"Cannot find '{name}' resolution for '{kind}'")
                    self.apply(name, kind, row, disk)
                except (DirectorError, CloudError) as error:
                    errors.append(f"Error resolving problem '{problem['id']}': {error}")
                with self.db.change():
                    problem["state"] = "resolved"
                resolved += 1
            if errors:
                raise DirectorError(100, "\n".join(errors))
        task.summary = f"{resolved} resolved"

    def apply(self, name, kind, row, disk):
        if name in ("ignore", "close"):
            return
        if kind == "unresponsive_agent" and self.iaas.agent(row["vm"]["agent_id"]):
            raise DirectorError(100, "Agent is responding now, skipping resolution")
        vm = row["vm"]["cid"] if row["vm"] else None
        if name == "delete_vm_reference":
            with self.db.change():
                row["vm"] = None
        elif name == "reboot_vm":
            self.iaas.reboot_vm(vm)
            if not self.iaas.agent(row["vm"]["agent_id"]):
                raise DirectorError(100, "Agent still unresponsive after reboot")
        elif name == "delete_vm":
            self.delete_vm_of(row)
        elif name in ("recreate_vm", "recreate_vm_without_wait"):
            self.delete_vm_of(row)
            self.create_vm_of(row)
        elif name == "delete_disk_reference" or name == "delete_disk":
            if name == "delete_disk" and disk["disk_cid"] in self.mounted(row):
                raise DirectorError(100, "Disk is currently in use")
            if vm in self.iaas.vms:
                self.iaas.detach_disk(vm, disk["disk_cid"])
            self.orphan_disk(row, disk)
        elif name == "activate_disk":
            if disk["disk_cid"] not in self.mounted(row):
                raise DirectorError(100, "Disk is not mounted")
            with self.db.change():
                disk["active"] = True
        else:
            self.iaas.attach_disk(vm, disk["disk_cid"])
            if name == "reattach_disk_and_reboot":
                self.iaas.reboot_vm(vm)

    def resurrect(self, seconds):
        """The health monitor: unless it is paused, what does not answer is made anew, in all deployments."""
        while not self.ended:
            time.sleep(seconds)
            if self.db["resurrection_paused"]:
                continue
            silent = {row["deployment"] for row in self.db["instances"]
                      if row["vm"] and row["lifecycle"] == "service" and not self.iaas.agent(row["vm"]["agent_id"])}
            for deployment in sorted(silent):
                self.tasks.start("scan and fix", deployment, lambda task, name=deployment: self.scan_and_fix(
                    task, name), "cck_scan_and_fix").finished.wait()

    def scan_and_fix(self, task, deployment):
        self.scan(task, deployment)
        found = [str(problem["id"]) for problem in self.db["problems"]
                 if problem["deployment"] == deployment and problem["state"] == "open"
                 and problem["type"] in ("missing_vm", "unresponsive_agent")]
        self.resolve(task, deployment, dict.fromkeys(found, "recreate_vm"))
        task.summary = "scan and fix complete"

    def mounted(self, row):
        answer = self.iaas.agent(row["vm"]["agent_id"]) if row["vm"] else None
        return answer["disks"] if answer else []

    def orphan_disk(self, row, disk):
        with self.db.change() as rows:
            rows["orphan_disks"].append({
                "disk_cid": disk["disk_cid"], "size": disk["size"], "az": row["az"],
                "deployment_name": row["deployment"], "instance_name": f"{row['job']}/{row['uuid']}",
                "cloud_properties": {}, "orphaned_at": stamp()})
            row["disks"] = [one for one in row["disks"] if one["id"] != disk["id"]]
