"""The staged side of an Ops Manager: what is configured, deployed or not; who changes it makes pending changes."""

import copy
import difflib

import manifest
from opsman_model import instances
from opsman_read import MISSING
from web import Answer

DIRECTOR_SECTIONS = ("networks", "availability_zones", "iaas_configurations", "network_and_az")


class Staged:
    def staged_product(self, guid):
        return self.product_of(guid)

    def staged_products(self, request):
        return Answer.json([{"installation_name": one["guid"], "guid": one["guid"], "type": one["type"],
                             "product_version": one["version"], "label": one["label"],
                             "service_broker": one.get("service_broker", False), "product_template_name": one["type"]}
                            for one in self.model.products()])

    def change(self, product, what):
        if what not in product["changed"]:
            product["changed"].append(what)

    # -- properties --------------------------------------------------------------------------------------------

    def properties(self, request, guid):
        found = copy.deepcopy(self.staged_product(guid)["properties"])
        if request.query.get("redact", "true") != "false":
            for value in found.values():
                if value["credential"]:
                    value["value"] = {"secret": "***"}
        return Answer.json({"properties": found})

    def put_properties(self, request, guid):
        product, given = self.staged_product(guid), read(request, "properties")
        unknown = [name for name in given if name not in product["properties"]]
        if unknown:
            return Answer.json({"errors": {name: ["is not a property"] for name in unknown}}, 422)
        for name, value in given.items():
            product["properties"][name].update(value)
            self.change(product, "properties")
        return Answer.json({})

    def product_networks(self, request, guid):
        self.staged_product(guid)
        return Answer.json({"networks_and_azs": {
            "singleton_availability_zone": {"name": "z1"}, "other_availability_zones": [{"name": "z1"}],
            "network": {"name": "deployment"}, "service_network": {"name": "deployment"}}})

    def syslog(self, request, guid):
        self.staged_product(guid)
        return Answer.json({"syslog_configuration": {"enabled": False}})

    def staged_manifest(self, request, guid):
        deployment = self.staged_deployment(self.staged_product(guid))
        if deployment is None:
            raise Answer.json(MISSING, 404)
        return Answer.json({"manifest": manifest.manifest_value(deployment)})

    def staged_deployment(self, product):
        """The deployment as it would be with the staged numbers of instances."""
        deployment = copy.deepcopy(self.model.data["deployments"].get(product["guid"]))
        for group in deployment["groups"] if deployment else []:
            count = instances(product["jobs"][group["name"]])
            group["instances"] = (group["instances"] * max(count, 1))[:count]
        return deployment

    def product_diff(self, request, guid):
        product = self.staged_product(guid)
        deployment = self.model.data["deployments"].get(guid)
        if deployment is None:
            return Answer.json({"manifest": {"status": "does_not_exist", "diff": ""}, "runtime_configs": []})
        texts = [manifest.manifest_text(one).splitlines() for one in (deployment, self.staged_deployment(product))]
        diff = "\n".join(list(difflib.unified_diff(*texts, lineterm=""))[2:])
        return Answer.json({"manifest": {"status": "different" if diff else "same", "diff": diff},
                            "runtime_configs": []})

    def director_diff(self, request):
        changed = self.director_model()["changed"]
        same = {"status": "different" if changed else "same", "diff": "".join(f"+ {one}\n" for one in changed)}
        return Answer.json({"manifest": same, "cloud_config": {"status": "same", "diff": ""}, "runtime_configs": [],
                            "cpi_configs": []})

    # -- jobs -------------------------------------------------------------------------------------------------------

    def jobs(self, request, guid):
        return Answer.json({"jobs": [{"name": name, "guid": job["guid"]}
                                     for name, job in self.staged_product(guid)["jobs"].items()]})

    def job_of(self, guid, job_guid):
        for job in self.staged_product(guid)["jobs"].values():
            if job["guid"] == job_guid:
                return job
        raise Answer.json(MISSING, 404)

    def resource_config(self, request, guid, job_guid):
        job = self.job_of(guid, job_guid)
        return Answer.json({**job["resource_config"], "instances_best_fit": job["default_instances"]})

    def put_resource_config(self, request, guid, job_guid):
        job, given = self.job_of(guid, job_guid), read(request)
        count = given.get("instances", job["resource_config"]["instances"])
        if count != "automatic" and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
            return Answer.json({"errors": {"instances": ["must be a number or automatic"]}}, 422)
        given.pop("instances_best_fit", None)
        if any(job["resource_config"].get(key) != value for key, value in given.items()):
            job["resource_config"].update(given)
            self.change(self.staged_product(guid), "resources")
        return Answer.json({})

    # -- errands and verifiers --------------------------------------------------------------------------------------

    def errands(self, request, guid):
        return Answer.json({"errands": self.staged_product(guid)["errands"]})

    def put_errands(self, request, guid):
        known = {errand["name"]: errand for errand in self.staged_product(guid)["errands"]}
        for errand in read(request).get("errands") or []:
            if errand.get("name") not in known:
                return Answer.json({"errors": {"errands": [f"{errand.get('name')} is not an errand"]}}, 422)
            known[errand["name"]].update(errand)
        return Answer.json({})

    def max_in_flight(self, request, guid):
        return Answer.json({"max_in_flight": self.staged_product(guid)["max_in_flight"]})

    def complaints(self, product):
        """What verifiers say of this product that nobody has switched off."""
        return [{"type": one["type"], "errors": one["errors"], "ignorable": one.get("ignorable", True)}
                for one in self.spec.get("verifiers", []) if one.get("product", "p-bosh") == product["type"]
                and one["type"] not in product["verifiers"]]

    def check(self, product):
        found = self.complaints(product)
        return Answer.json({"pre_deploy_check": {
            "identifier": product["type"], "complete": not found, "network": {"assigned": True},
            "availability_zone": {"assigned": True}, "stemcells": [], "properties": [], "resources": {"jobs": []},
            "verifiers": found}})

    def director_check(self, request):
        return self.check(self.director_model())

    def product_check(self, request, guid):
        return self.check(self.staged_product(guid))

    def verifiers(self, product):
        return Answer.json({"verifiers": [
            {"type": one["type"], "enabled": one["type"] not in product["verifiers"]}
            for one in self.spec.get("verifiers", []) if one.get("product", "p-bosh") == product["type"]]})

    def director_verifiers(self, request):
        return self.verifiers(self.director_model())

    def product_verifiers(self, request, guid):
        return self.verifiers(self.staged_product(guid))

    def put_verifier(self, request, product, kind):
        if all(one["type"] != kind for one in self.spec.get("verifiers", [])):
            return Answer.json(MISSING, 404)
        off = product["verifiers"]
        off[:] = [one for one in off if one != kind] + ([kind] if read(request).get("enabled") is False else [])
        return Answer.json({"type": kind, "enabled": kind not in off})

    def put_director_verifier(self, request, kind):
        return self.put_verifier(request, self.director_model(), kind)

    def put_product_verifier(self, request, guid, kind):
        return self.put_verifier(request, self.staged_product(guid), kind)

    # -- the director -----------------------------------------------------------------------------------------------

    def director_section(self, request, section):
        director = self.director_model()
        if section == "properties":
            return Answer.json(director["director_properties"])
        if section not in DIRECTOR_SECTIONS:
            return Answer.json(MISSING, 404)
        return Answer.json(director[section])

    def put_director_section(self, request, section):
        director, given = self.director_model(), read(request)
        if section == "properties":
            for name, value in given.items():
                director["director_properties"].setdefault(name, {}).update(value)
        elif section not in DIRECTOR_SECTIONS:
            return Answer.json(MISSING, 404)
        elif self.model.data["infrastructure_locked"]:
            return Answer.json({"errors": {"base": ["the infrastructure settings are locked"]}}, 422)
        else:
            director[section] = given
        self.change(director, section)
        return Answer.json({})

    def infrastructure(self, request):
        return Answer.json({"locked": self.model.data["infrastructure_locked"]})

    def put_infrastructure(self, request):
        locked = read(request).get("locked")
        if not isinstance(locked, bool) and str(locked).lower() not in ("true", "false"):
            return Answer.json({"errors": {"locked": ["must be true or false"]}}, 422)
        self.model.data["infrastructure_locked"] = str(locked).lower() == "true"
        return Answer.json({})

    def vm_extensions(self, request):
        return Answer.json({"vm_extensions": []})

    def vm_types(self, request):
        return Answer.json({"vm_types": [{"name": "medium", "ram": 8192, "cpu": 2, "ephemeral_disk": 32768,
                                          "builtin": True}]})

    # -- pending changes --------------------------------------------------------------------------------------------

    def action(self, product):
        if product.get("action") in ("install", "delete"):
            return product["action"]
        return "update" if product["changed"] else "unchanged"

    def pending_changes(self, request):
        changes = []
        for product in self.model.products():
            entry = {"guid": product["guid"], "action": self.action(product), "errands": product["errands"],
                     "completeness_checks": {"configuration_complete": True, "stemcell_present": self.spec.get("stemcell_present", True),
                                             "configurable_properties_valid": True}}
            if self.spec.get("info") != "old":
                version = {"version": product["version"], "name": product["type"]}
                entry.update(staged=version, deployed=None if entry["action"] == "install" else version,
                             last_successful_deployed=None)
            changes.append(entry)
        return Answer.json({"product_changes": changes})

    def revert(self, request):
        if self.spec.get("info") == "old":
            return Answer.json(MISSING, 404)
        if all(self.action(product) == "unchanged" for product in self.model.products()):
            return Answer(304)
        kept = copy.deepcopy(self.deployed_last)
        self.model.data["director"], self.model.data["products"] = kept
        return Answer(204)


def read(request, key=None):
    found = request.json_object()
    if key is None:
        return found
    if not isinstance(found.get(key), dict):
        raise Answer.json({"errors": {key: ["is missing"]}}, 422)
    return found[key]
