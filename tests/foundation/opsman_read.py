"""What an Ops Manager tells of what is deployed: products, credentials, certificates, stemcells, diagnostics."""

import datetime
import re

import manifest
from opsman_export import multipart
from opsman_model import OPS_CLIENT
from web import Answer
from yaml_reader import parse

MISSING = {"errors": {"base": ["not found"]}}
NOBODY = "127.0.0.1:9"  # where no director is yet; nothing may go out to a real network
SPAN = {"d": 1, "w": 7, "m": 30, "y": 365}


class Read:
    # -- products -------------------------------------------------------------------------------------------

    def product_of(self, guid):
        found = self.model.product(guid)
        if found is None:
            raise Answer.json(MISSING, 404)
        return found

    def deployed(self):
        """Whatever is staged and not new: what an import brings counts as deployed, as it does in reality."""
        return [one for one in self.model.products() if one.get("action") != "install"]

    def deployed_product(self, guid):
        found = self.product_of(guid)
        if found not in self.deployed():
            raise Answer.json(MISSING, 404)
        return found

    def deployed_products(self, request):
        listed = []
        for one in self.deployed():
            entry = {"installation_name": one["guid"], "guid": one["guid"], "type": one["type"],
                     "product_version": one["version"]}
            if self.spec.get("info") != "old":
                entry.update(label=one["label"], service_broker=one.get("service_broker", False),
                             bosh_read_creds=False, stale=one.get("stale") or {
                                 "parent_products_deployed_more_recently": []})
            listed.append(entry)
        return Answer.json(listed)

    def members(self, guid):
        """The VM line of each instance that the director knows of."""
        director = self.foundation.director
        return director.vms(guid) if director and guid in director.deployments else []

    def status(self, request, guid):
        one = self.deployed_product(guid)
        if one["type"] == "p-bosh":
            cid = (self.vm.bosh_state() or {}).get("current_vm_cid")
            lines = [status_line("bosh", 0, [self.director_address()], cid, {})] if cid else []
        else:
            lines = [status_line(vm["job_name"], vm["index"], vm["ips"], vm["vm_cid"], vm.get("vitals") or {})
                     for vm in self.members(guid)]
        return Answer.json({"status": lines})

    def static_ips(self, request, guid):
        one = self.deployed_product(guid)
        if one["type"] == "p-bosh":
            return Answer.json([{"name": "director-z1", "ips": [self.director_address()]}])
        found = {}
        for vm in self.members(guid):
            found.setdefault(f"{vm['job_name']}-{vm['az']}", []).extend(vm["ips"])
        return Answer.json([{"name": name, "ips": ips} for name, ips in found.items()])

    def product_manifest(self, request, guid):
        if self.deployed_product(guid)["type"] == "p-bosh":
            return self.director_manifest(request)
        director = self.foundation.director
        if director and guid in director.deployments:
            return Answer.json(parse(director.deployments[guid]["manifest"]))
        deployment = self.model.data["deployments"].get(guid)
        if deployment is None:
            raise Answer.json(MISSING, 404)
        if "manifest" in deployment:
            return Answer(200, deployment["manifest"], "application/json")
        return Answer.json(manifest.manifest_value(deployment))

    def product_credentials(self, request, guid):
        return Answer.json({"credentials": sorted(self.deployed_product(guid)["credentials"])})

    def product_credential(self, request, guid, reference):
        found = self.deployed_product(guid)["credentials"].get(reference)
        if found is None:
            raise Answer.json(MISSING, 404)
        return Answer.json({"credential": found})

    def team_client(self, request, guid):
        found = self.deployed_product(guid).get("team_client")
        if not found:
            raise Answer.json(MISSING, 404)
        return Answer.json(found)

    # -- the director -----------------------------------------------------------------------------------------

    def director_model(self):
        if self.model.data["director"] is None:
            raise Answer.json(MISSING, 404)
        return self.model.data["director"]

    def director_address(self):
        """Where SSH to the director's VM goes: a real foundation would say 10.0.0.5."""
        host = self.foundation.instances.get(self.director_model()["host"])
        return f"127.0.0.1:{host.port}" if host else self.spec.get("director_address", NOBODY)

    def director_credentials(self, request):
        names = [*self.director_model()["credentials"], "bosh_commandline_credentials"]
        return Answer.json({"credential_ids": sorted(names)})

    def director_credential(self, request, name):
        director = self.director_model()
        if name == "bosh_commandline_credentials":
            api = self.foundation.director
            nobody = self.spec.get("director_api", self.spec.get("director_address", NOBODY))
            environment = api.url if api else f"https://{nobody}"
            client, secret = (OPS_CLIENT, director["clients"].get(OPS_CLIENT, "")) if director["clients"] else (
                director["uaa"].get("username", "admin"), director["uaa"].get("password", "admin"))
            return Answer.json({"credential": f"BOSH_CLIENT={client} BOSH_CLIENT_SECRET={secret} BOSH_CA_CERT="
                                f"/var/tempest/workspaces/default/root_ca_certificate BOSH_ENVIRONMENT={environment} "
                                "bosh "})
        found = director["credentials"].get(name)
        if found is None:
            raise Answer.json(MISSING, 404)
        return Answer.json({"credential": found})

    def director_manifest(self, request):
        """Three shapes are known: jobs (up to 2.2), instance_groups, and that wrapped in `manifest`."""
        director = self.director_model()
        shape = self.spec.get("director_manifest", "instance_groups")
        address = self.director_address().split(":")[0]
        group = {"name": "bosh", "instances": 1, "properties": {
            "director": {"name": "p-bosh", "address": address},
            "uaa": {"clients": {client: {"secret": secret} for client, secret in director["clients"].items()}}},
            "networks": [{"name": "deployment", "static_ips": [address]}]}
        value = {"name": director["guid"], "jobs" if shape == "jobs" else "instance_groups": [group]}
        return Answer.json({"manifest": value} if shape == "wrapped" else value)

    # -- certificates ---------------------------------------------------------------------------------------------

    def certificate_authorities(self, request):
        return Answer.json({"certificate_authorities": [
            {key: value for key, value in one.items() if key != "key_pem"} for one in self.model.data["cas"]]})

    def root_ca(self, request):
        active = [one["cert_pem"] for one in self.model.data["cas"] if one["active"]]
        return Answer.json({"root_ca_certificate_pem": active[-1] if active else ""})

    def certificates(self, request):
        found = self.model.data["certificates"]
        within = request.query.get("expires_within")
        if within:
            match = re.fullmatch(r"(\d+)([dwmy])", within)
            if not match:
                return Answer.json({"errors": {"expires_within": ["is not a span such as 3m"]}}, 422)
            end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(int(match[1]) * SPAN[match[2]])
            found = [one for one in found if moment(one["valid_until"]) < end]
        return Answer.json({"certificates": found})

    # -- stemcells and diagnostics ----------------------------------------------------------------------------------

    def stemcell_associations(self, request):
        library = self.model.data["stemcells"]
        products = []
        for one in self.model.data["products"]:
            wanted = [one["stemcell"]]
            available = [{"os": cell["os"], "version": cell["version"]} for cell in library
                         if cell["os"] == one["stemcell"]["os"] and cell.get("present_on_disk", True)]
            products.append({
                "guid": one["guid"], "identifier": one["type"], "label": one["label"],
                "staged_product_version": one["version"], "deployed_product_version": one["version"],
                "is_staged_for_deletion": one["action"] == "delete", "staged_stemcells": wanted,
                "deployed_stemcells": wanted, "required_stemcells": wanted, "available_stemcells": available})
        return Answer.json({"products": products, "stemcell_library": [
            {"infrastructure": "vsphere", "hypervisor": "esxi", "light": False, "present_on_disk": True, **cell}
            for cell in library]})

    def diagnostic_report(self, request):
        if self.spec.get("diagnostics") == "unavailable":
            return Answer.json({"errors": {"base": ["internal error"]}}, 500)
        data = self.model.data
        staged = [diagnosed(one) for one in self.model.products() if one.get("action") != "delete"]
        cells = [{"filename": cell.get("filename") or file_name(cell), "os": cell["os"], "version": cell["version"]}
                 for cell in data["stemcells"] if cell.get("present_on_disk", True)]
        version = data["version"]
        return Answer.json({
            "versions": {"installation_schema_version": "3.0", "metadata_version": "3.0", "release_version": version},
            "generation_time": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "infrastructure_type": data.get("iaas_type", "vsphere"),
            "director_configuration": {"bosh_recreate_on_next_deploy": False, "resurrector_enabled": True},
            "releases": [], "available_stemcells": cells, "product_templates": [],
            "added_products": {"deployed": [diagnosed(one) for one in self.deployed()], "staged": staged}})

    def available_products(self, request):
        return Answer.json([{"name": one["type"], "product_version": one["version"]}
                            for one in self.model.products()])

    def upload_stemcell(self, request):
        parts = multipart(request)
        request.entry["body"] = f"parts: {', '.join(sorted(parts))}"
        name = parts.get("stemcell[file]:filename", b"").decode()
        match = re.search(r"stemcell-([0-9][0-9.]*)-(.+?)(?:-go_agent|-raw)?\.tgz$", name)
        if "stemcell[file]" not in parts or not match:
            return Answer.json({"errors": {"stemcell": ["is not a stemcell"]}}, 422)
        system = re.search(r"(ubuntu-[a-z]+|windows[0-9]+)", match[2])
        cell = {"os": system[1] if system else "unknown", "version": match[1], "filename": name}
        library = self.model.data["stemcells"]
        library[:] = [one for one in library if (one["os"], one["version"]) != (cell["os"], cell["version"])]
        library.append({**cell, "present_on_disk": True, "floating": parts.get("stemcell[floating]", b"true").decode()})
        return Answer.json({})


def status_line(name, index, ips, cid, vitals):
    memory, disk = vitals.get("mem", {}), vitals.get("disk", {})

    def percent(kind):
        return {"percent": str(disk.get(kind, {}).get("percent", "12")), "inode_percent": "3"}

    return {"job-name": name, "index": index, "az_guid": "a1b2c3d4e5f6a7b8c9d0", "az_name": "z1", "ips": ips,
            "cid": cid, "load_avg": ["0.10", "0.08", "0.05"], "cpu": {"user": "1.0", "sys": "0.5", "wait": "0.1"},
            "memory": {"percent": str(memory.get("percent", "31")), "kb": str(memory.get("kb", "1048576"))},
            "swap": {"percent": "0", "kb": "0"}, "system_disk": percent("system"),
            "ephemeral_disk": percent("ephemeral"), "persistent_disk": percent("persistent")}


def moment(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)


def diagnosed(one):
    return {"name": one["type"], "version": one["version"], "stemcell": file_name(one["stemcell"]),
            "stemcells": [{"filename": file_name(one["stemcell"]), **one["stemcell"]}]}


def file_name(cell):
    return f"bosh-stemcell-{cell['version']}-vsphere-esxi-{cell['os']}-go_agent.tgz"

