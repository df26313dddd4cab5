"""The IaaS below one foundation, as its CPI sees it: which VM, disk and stemcell ids exist, and what runs behind them.

Knows no director. An IaaS may be `shared` with that of another foundation (its control socket): then ids of the other
exist here too, and can be destroyed from here, and where `agents` says so its agents answer this director.
"""

import os
import threading
import uuid

from instance import FoundationError


class CloudError(Exception):
    """What the CPI answers; the director's tasks fail with it."""

    def __init__(self, kind, message, method):
        super().__init__(f"CPI error 'Bosh::Clouds::{kind}' with message '{message}' in '{method}' CPI method")


class NotImplementedByCpi(Exception):
    pass


def new_cid(kind):
    return f"{kind}-{uuid.uuid4()}"


class Iaas:
    def __init__(self, spec, ask):
        """`ask(socket, request)` is the client of a control socket."""
        self.lock = threading.RLock()
        self.vms, self.disks, self.stemcells = {}, {}, {}
        self.destroyed = []  # what this side destroyed of the other's: the disaster a restore must not cause
        self.cannot_tell = spec.get("cannot_tell", False)
        self.peers = []
        self.ask = ask
        self.make_machine = None
        if spec.get("shared"):
            self.share(spec["shared"], spec.get("agents", False))

    def share(self, place, agents=False):
        """From now on the IaaS is one with that of the foundation at this control socket (null: with nobody's)."""
        self.peers = [{"socket": place, "agents": agents}] if place else []

    def _peer(self, request):
        for peer in self.peers:
            try:
                found = self.ask(peer["socket"], request)
            except (OSError, FoundationError, ValueError):
                continue
            if found.get("found"):
                return found
        return None

    # -- what exists ----------------------------------------------------------------------------------

    def has_vm(self, cid, own=False):
        if self.cannot_tell and not own:
            raise NotImplementedByCpi("has_vm")
        return cid in self.vms or not own and self._peer({"do": "iaas-has", "kind": "vm", "cid": cid}) is not None

    def has_disk(self, cid, own=False):
        if self.cannot_tell and not own:
            raise NotImplementedByCpi("has_disk")
        return cid in self.disks or not own and self._peer({"do": "iaas-has", "kind": "disk", "cid": cid}) is not None

    def has_stemcell(self, cid, own=False):
        return cid in self.stemcells or not own and self._peer(
            {"do": "iaas-has", "kind": "stemcell", "cid": cid}) is not None

    def agent(self, agent_id, own=False):
        """What the agent with this id answers: {"disks": [cid], "instance": our machine or None}; None without answer."""
        if agent_id is None:
            return None
        for vm in list(self.vms.values()):
            instance = vm["instance"]
            if vm["agent_id"] == agent_id:
                if instance is None or not instance.is_on() or instance.spec.get("unresponsive_agent"):
                    return None
                return {"disks": list(vm["disks"]), "instance": instance}
        if not own and any(peer["agents"] for peer in self.peers):
            found = self._peer({"do": "iaas-agent", "agent_id": agent_id})
            if found:
                return {"disks": found["disks"], "instance": None}
        return None

    # -- what the CPI does ------------------------------------------------------------------------------

    def create_stemcell(self, name):
        cid = new_cid("sc")
        self.stemcells[cid] = name
        return cid

    def delete_stemcell(self, cid):
        self.stemcells.pop(cid, None)

    def create_disk(self, size):
        cid = new_cid("disk")
        self.disks[cid] = {"size": size, "vm": None, "place": None}
        return cid

    def delete_disk(self, cid):
        disk = self.disks.pop(cid, None)
        if disk is None:
            if self._peer({"do": "iaas-delete", "kind": "disk", "cid": cid}):
                self.destroyed.append({"kind": "disk", "cid": cid})
                return
            raise CloudError("DiskNotFound", f"Disk '{cid}' not found", "delete_disk")

    def register(self, cid, agent_id, instance, disks=(), stemcell=None, name=""):
        """A VM that was there before us."""
        with self.lock:
            self.vms[cid] = {"agent_id": agent_id, "instance": instance, "disks": list(disks), "stemcell": stemcell,
                             "name": name or (instance.name if instance else "")}
            for disk in disks:
                self.disks.setdefault(disk, {"size": 0}).update(
                    vm=cid, place=f"{instance.vcap}/store" if instance else None)

    def create_vm(self, stemcell, agent_id, key, name, spec, disks=()):
        """A machine with fresh disks, and behind /var/vcap/store the first of `disks`, as it was left."""
        if not self.has_stemcell(stemcell):
            raise CloudError("CloudError", f"Stemcell '{stemcell}' not found", "create_vm")
        for disk in disks:
            if disk not in self.disks:
                raise CloudError("DiskNotFound", f"Disk '{disk}' not found", "attach_disk")
        place = next((self.disks[disk]["place"] for disk in disks), None)
        cid = new_cid("vm")
        instance = self.make_machine(key, name, spec, place)
        self.register(cid, agent_id, instance, disks, stemcell)
        return cid

    def attach_disk(self, vm, disk):
        if disk not in self.disks:
            raise CloudError("DiskNotFound", f"Disk '{disk}' not found", "attach_disk")
        machine = self.vms[vm]
        if disk not in machine["disks"]:
            machine["disks"].append(disk)
        self.disks[disk].update(vm=vm, place=f"{machine['instance'].vcap}/store")

    def detach_disk(self, vm, disk):
        if disk in self.vms[vm]["disks"]:
            self.vms[vm]["disks"].remove(disk)
        if disk in self.disks:
            self.disks[disk]["vm"] = None

    def delete_vm(self, cid):
        """The machine ends; its persistent disks stay, in nobody's hands."""
        with self.lock:
            vm = self.vms.pop(cid, None)
        if vm is None:
            if self._peer({"do": "iaas-delete", "kind": "vm", "cid": cid}):
                self.destroyed.append({"kind": "vm", "cid": cid})
                return
            raise CloudError("VMNotFound", f"VM '{cid}' not found", "delete_vm")
        if vm["instance"]:
            vm["instance"].end()
        for disk in vm["disks"]:
            if disk in self.disks:
                self.disks[disk]["vm"] = None

    def reboot_vm(self, cid):
        vm = self.vms.get(cid)
        if vm is None:
            raise CloudError("VMNotFound", f"VM '{cid}' not found", "reboot_vm")
        if vm["instance"]:
            vm["instance"].power(False)
            vm["instance"].power(True)

    # -- for tests ----------------------------------------------------------------------------------------

    def describe(self):
        return {
            "vms": {cid: {"agent_id": vm["agent_id"], "name": vm["name"], "disks": vm["disks"],
                          "on": bool(vm["instance"] and vm["instance"].is_on())} for cid, vm in self.vms.items()},
            "disks": {cid: {"vm": disk.get("vm"), "size": disk["size"]} for cid, disk in self.disks.items()},
            "stemcells": dict(self.stemcells), "destroyed": list(self.destroyed),
            "shared": [peer["socket"] for peer in self.peers]}


def keep_store(place, instance):
    """Move what is on a persistent disk to the machine it is attached to now."""
    if place and os.path.isdir(place):
        os.rmdir(f"{instance.vcap}/store")
        os.rename(place, f"{instance.vcap}/store")
