"""What an Apply Changes needs of a foundation: a director where there is none, deployments, errands, tear-down.

Mixed into the foundation. `workspace` is what Ops Manager knows (README.md, opsman_model.py): a foundation that began
empty becomes what the workspace describes, with fresh machines and disks.
"""

import copy
import os
import uuid

from certificates import Authority
from director import Director
from instance import FoundationError
from manifest import manifest_text
from uaa import Uaa


class Scratch:
    """Uses the foundation's `spec`, `instances`, `iaas`, `keys`, `make_machine` and `make_login`."""

    director_vm_cid = director_disk_cid = None

    def register_hosts(self):
        """VMs of the spec's hosts exist in the IaaS too; the director's has a persistent disk."""
        for host in self.spec["hosts"]:
            cid, disk = f"vm-{uuid.uuid4()}", self.iaas.create_disk(51200)
            self.iaas.register(cid, f"agent-{host['name']}-{cid}", self.instances[host["name"]], [disk])
            if host.get("director") or self.director_vm_cid is None:
                self.director_vm_cid, self.director_disk_cid = cid, disk

    def create_director(self, workspace):
        """As `bosh create-env`: a new VM with an empty disk, a director with an empty database, an empty blobstore.
        The disk that bosh-state.json names must be there; names, keys and secrets are those of the workspace."""
        if self.director is not None:
            raise FoundationError("there is a director already")
        known, state = workspace["director"], workspace.get("bosh_state") or {}
        for disk in state.get("disks") or []:
            if not self.iaas.has_disk(disk["cid"]):
                raise FoundationError(
                    "creating the director's VM: CPI 'attach_disk' method responded with error: "
                    f"CmdError{{\"type\":\"Bosh::Clouds::DiskNotFound\",\"message\":\"Disk '{disk['cid']}' not found\"}}")
        host = copy.deepcopy(known["spec"])
        name, login = host["name"], host.get("login", "bbr")
        host["files"] = {}
        stemcell = self.iaas.create_stemcell("bosh-test-ubuntu-jammy-go_agent/1.500")
        self.director_disk_cid = self.iaas.create_disk(51200)
        self.director_vm_cid = self.iaas.create_vm(
            stemcell, str(uuid.uuid4()), name, f"{name}/0", host, [self.director_disk_cid])
        self.spec["hosts"].append(host)
        key = known["credentials"]["bbr_ssh_credentials"]["value"]
        self.make_login(name, self.instances[name], login, key.get("private_key_pem"))
        authority = self.authority_of(workspace.get("authority"))
        given = {**known.get("uaa", {}), "empty": True}
        if not self.spec.get("network"):  # in a network of its own it has the original's address
            given.pop("port", None)
        if given.get("auth") == "uaa":
            self.uaa = Uaa(authority, {**given, "clients": known.get("clients", {})})
            self.uaa.host = self.director_host
        self.director = Director(authority, given, [], self.instances, self.uaa, self.iaas,
                                 self.instances[name] if host.get("director") else None)
        return {"vm_cid": self.director_vm_cid, "disk_cid": self.director_disk_cid}

    def authority_of(self, given):
        """The authority of the workspace signs what the director shows."""
        if not given:
            return self.authority
        place = f"{self.directory}/tls-director"
        os.makedirs(place, exist_ok=True)
        for name, text in (("ca.pem", given["cert_pem"]), ("ca.key", given["key_pem"])):
            with open(f"{place}/{name}", "w") as file:
                file.write(text)
        return Authority(place, known=True)

    def needed_director(self):
        if self.director is None:
            raise FoundationError("there is no director; apply changes to the director first")
        return self.director

    def deploy(self, guid, workspace):
        """The product's deployment as the workspace has it, with as many instances as its resource config says."""
        director, known = self.needed_director(), copy.deepcopy(workspace["deployments"][guid])
        counts = (workspace.get("resource_config") or {}).get(guid, {})
        for group in known["groups"]:
            members = group["instances"]
            wanted = counts.get(group["name"], members if isinstance(members, int) else len(members))
            group["instances"] = [{}] * int(wanted)
        text = manifest_text(known)
        return self.finish(director.tasks.start(
            f"create deployment {guid}", guid, lambda task: director.deploy(task, text, {
                "teams": known.get("teams", [])}), "update_deployment"))

    def run_errand(self, guid, name):
        director = self.needed_director()
        if guid not in director.deployments:  # a product that is only talked about has no errands to run
            return None
        return self.finish(director.tasks.start(
            f"run errand {name} from deployment {guid}", guid,
            lambda task: director.run_errand(task, guid, name, {}), "run_errand"))

    def delete_deployment(self, guid):
        director = self.needed_director()
        return self.finish(director.tasks.start(
            f"delete deployment {guid}", guid, lambda task: director.delete_deployment(task, guid),
            "delete_deployment"))

    @staticmethod
    def finish(task):
        """Wait for a task; its failure is ours. An errand that exits with another status than 0 failed, too."""
        task.finished.wait()
        if task.outcome != "done":
            raise FoundationError(f"task {task.number} ({task.description}): {task.summary}")
        if task.kind == "run_errand" and not task.summary.startswith("1 succeeded"):
            raise FoundationError(f"task {task.number} ({task.description}): {task.output.strip()}")
        return task.number

    def tear_down(self, _workspace=None):
        """Every deployment and the director, with their disks; Ops Manager's own VM stays."""
        if self.director is None:
            return
        for guid in sorted(self.director.deployments, key=lambda name: not name.startswith("service-instance_")):
            self.delete_deployment(guid)
        for row in list(self.director.db["orphan_disks"]):
            self.director.delete_orphan_disk(row["disk_cid"])
        for service in (self.director, self.uaa):
            if service is not None:
                service.end()
        self.iaas.delete_vm(self.director_vm_cid)
        self.iaas.delete_disk(self.director_disk_cid)
        host = next(host["name"] for host in self.spec["hosts"])
        self.spec["hosts"] = [one for one in self.spec["hosts"] if one["name"] != host]
        self.instances.pop(host, None)
        self.director = self.uaa = self.director_vm_cid = self.director_disk_cid = None
