"""Apply Changes: installations that run one at a time, what they do to the foundation, and how they fail.

What a director or a deployment is made of is the foundation's (`create_director`, `deploy`); what stands in the way of
an Apply Changes (bosh-state.json, a run in progress, verifiers) is decided here.
"""

import copy
import hashlib
import threading
import time
import uuid

from instance import FoundationError
from web import Answer


class Installation:
    def __init__(self, number, user):
        self.number, self.user = number, user
        self.status, self.started, self.finished = "running", time.time(), None
        self.log, self.changes = "", {"additions": [], "updates": [], "deletions": [], "unchanged": []}
        self.over = threading.Event()

    def say(self, text):
        self.log += text + "\n"

    def end(self, status):
        self.finished, self.status = time.time(), status
        for change in [one for changes in self.changes.values() for one in changes]:
            if change["deployment_status"] in ("pending", "running"):
                change["deployment_status"] = "skipped" if status == "failed" else "successful"
            change["finished_at"] = clock(self.finished)
        self.over.set()

    def to_json(self):
        return {"id": self.number, "user_name": self.user, "status": self.status, "started_at": clock(self.started),
                "finished_at": clock(self.finished), **self.changes}


def clock(seconds):
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"


class Install:
    def begin_installations(self):
        self.installations = []
        self.deployed_last = (None, [])
        self.release = threading.Event()

    def begin_history(self):
        """A foundation that stands has had one successful run, and its workspace knows the director's VM."""
        self.remember_deployed()
        if self.model.data["director"] and self.foundation.director:
            self.vm.write_bosh_state(self.state_of(self.director_cid()))
        first = Installation(1, "admin")
        first.started -= 86400
        first.changes["additions"] = [change_of(one, "addition") for one in self.model.products()]
        first.end("succeeded")
        first.finished = first.started + 3600
        first.say("director and products deployed")
        self.installations.append(first)

    def remember_deployed(self):
        self.deployed_last = copy.deepcopy((self.model.data["director"], self.model.data["products"]))

    def running(self):
        return next((one for one in self.installations if one.status == "running"), None)

    # -- the calls ---------------------------------------------------------------------------------------------

    def list_installations(self, request):
        newest = [one.to_json() for one in reversed(self.installations)]
        if "per_page" in request.query:
            size, page = int(request.query["per_page"]), int(request.query.get("page_num", "1"))
            newest = newest[(page - 1) * size:page * size]
        return Answer.json({"installations": newest})

    def installation(self, number):
        for one in self.installations:
            if one.number == int(number):
                return one
        raise Answer.json({"errors": {"base": ["not found"]}}, 404)

    def one_installation(self, request, number):
        one = self.installation(number)
        return Answer.json({"status": one.status, "started_at": clock(one.started), "finished_at": clock(one.finished)})

    def installation_logs(self, request, number):
        return Answer.json({"logs": self.installation(number).log})

    def apply_changes(self, request):
        given = request.json_object()
        if self.running():
            return Answer.json({"errors": {"base": ["Cannot start an install while another is in progress"]}}, 422)
        director = self.director_model()
        products, wanted = self.model.data["products"], given.get("deploy_products", "all")
        if wanted == "none":
            chosen = []
        elif wanted == "all":
            chosen = list(products)
        elif isinstance(wanted, list):
            chosen = [one for one in products if one["guid"] in wanted]
            unknown = sorted(set(wanted) - {one["guid"] for one in self.model.products()})
            if unknown:
                return Answer.json({"errors": {"deploy_products": [f"{unknown[0]} is not a staged product"]}}, 422)
        else:
            return Answer.json({"errors": {"deploy_products": ["must be all, none or a list of GUIDs"]}}, 422)
        errands = given.get("errands") or {}
        if not isinstance(errands, dict):
            return Answer.json({"errors": {"errands": ["must be an object"]}}, 422)
        for guid, switches in errands.items():
            known = {errand["name"] for errand in (self.model.product(guid) or {"errands": []})["errands"]}
            named = {name for kind in ("run_post_deploy", "run_pre_delete") for name in switches.get(kind) or {}}
            if named - known:
                return Answer.json({"errors": {"errands": [f"{sorted(named - known)[0]} is not an errand of {guid}"]}},
                                   422)
        complaints = {one["guid"]: self.complaints(one) for one in [director, *chosen]}
        ignored = str(given.get("ignore_warnings", "false")).lower() == "true"
        found = {guid: [one for one in said if not (ignored and one["ignorable"])]
                 for guid, said in complaints.items()}
        if any(found.values()):
            return Answer.json({
                "errors": {"verifiers": [error for said in found.values() for one in said for error in one["errors"]]},
                "deployment_errors": {guid: {"verifiers": said} for guid, said in found.items() if said}}, 422)
        return Answer.json({"install": {"id": self.start_installation(request.user, chosen, errands).number}})

    def tear_down(self, request):
        if self.model.data["director"] is None:
            return Answer(410)
        if self.running():
            return Answer.json({"errors": {"base": ["Cannot start an install while another is in progress"]}}, 422)
        one = self.new_installation(request.user)
        one.changes["deletions"] = [change_of(product, "delete") for product in self.model.products()]
        self.in_background(one, lambda: self.delete_everything(one))
        return Answer.json({"install": {"id": one.number}})

    # -- a run -------------------------------------------------------------------------------------------------

    def new_installation(self, user):
        one = Installation(self.installations[-1].number + 1 if self.installations else 1, user)
        self.installations.append(one)
        return one

    def start_installation(self, user, products, errands):
        one = self.new_installation(user)
        for product in self.model.products():
            if product["type"] != "p-bosh" and product not in products:
                continue
            action = self.action(product)
            kind = {"install": "additions", "delete": "deletions", "update": "updates"}.get(action, "unchanged")
            one.changes[kind].append(change_of(product, {"additions": "addition", "deletions": "deletion",
                                                         "updates": "update"}.get(kind, "unchanged")))
        self.in_background(one, lambda: self.perform(one, products, errands))
        return one

    def in_background(self, installation, work):
        def run():
            try:
                work()
                status = "succeeded"
            except Exception as error:  # noqa: BLE001 - a run that fails is a result
                installation.say(f"error: {error}")
                status = "failed"
            with self.lock:
                installation.end(status)

        threading.Thread(target=run, daemon=True).start()

    def stranger(self, user, seconds, hold):
        """An Apply Changes that somebody else started; it changes nothing. `hold`: until told to end."""
        with self.lock:
            if self.running():
                raise FoundationError("an installation is already running")
            one = self.new_installation(user)
            self.release.clear()
            one.changes["updates"] = [{**change_of(product, "update"), "deployment_status": "running"}
                                      for product in self.model.products()]
        self.in_background(one, lambda: self.release.wait(None if hold else seconds))
        return one.number

    def perform(self, installation, products, errands):
        fail, self.fail_next = self.fail_next, None
        time.sleep(self.spec.get("install_seconds", 0.2))
        if fail and fail.get("at", "director") == "director":
            raise FoundationError(fail.get("message", "the director could not be updated"))
        self.step(installation, self.model.data["director"], lambda: self.apply_director(installation))
        for product in list(products):
            if fail and fail.get("at") in ("product", product["type"], product["guid"]):
                raise FoundationError(fail.get("message", f"{product['guid']} could not be updated"))
            time.sleep(self.spec.get("install_seconds", 0.2))
            self.step(installation, product, lambda one=product: self.apply_product(installation, one, errands))
        with self.lock:
            for product in products:
                if product["action"] == "delete":
                    self.model.data["products"].remove(product)
            self.remember_deployed()

    def step(self, installation, product, work):
        change = next(one for changes in installation.changes.values() for one in changes
                      if one["guid"] == product["guid"])
        change.update(deployment_status="running", started_at=clock(time.time()))
        change["deployment_status"] = "failed"
        work()
        change.update(deployment_status="successful", finished_at=clock(time.time()))
        product["changed"] = []
        if product.get("action") == "install":
            product["action"] = "unchanged"

    # -- the director -------------------------------------------------------------------------------------------

    def apply_director(self, installation):
        installation.say("===== Running \"bosh create-env /var/tempest/workspaces/default/deployments/bosh.yml\"")
        state = self.vm.bosh_state()
        if state is None:
            if self.foundation.director is not None:
                raise FoundationError(
                    "creating the director's VM: its address is in use by a VM that bosh-state.json does not name")
            new = self.call("create_director", self.model.workspace(self.vm))
            self.vm.write_bosh_state(self.state_of(new))
        else:
            self.update_director(installation, state)
        installation.say("Succeeded")

    def update_director(self, installation, state):
        """bosh-state.json names a VM: it must be there, and it is replaced, whoever it belongs to."""
        cid = state.get("current_vm_cid")
        if self.foundation.director is not None and cid == self.director_cid():
            return
        iaas = getattr(self.foundation, "iaas", None)
        if iaas is not None and iaas.has_vm(cid):
            self.disasters.append({"us": time.time_ns() // 1000, "text": f"the VM {cid} of another foundation's "
                                   "director was deleted and its disk taken"})
            iaas.delete_vm(cid)
            new = self.call("create_director", self.model.workspace(self.vm))
            self.vm.write_bosh_state(self.state_of(new))
            return
        raise FoundationError(f"updating the director: the VM '{cid}' that bosh-state.json names does not exist")

    def director_cid(self):
        """The CID of the director's VM of this foundation."""
        found = getattr(self.foundation, "director_vm_cid", None)
        if found:
            return found
        return "vm-" + hashlib.sha256(self.foundation.director.uuid.encode()).hexdigest()[:12]

    def state_of(self, given):
        """bosh-state.json from a CID, or from what `create_director` tells."""
        if isinstance(given, dict) and "director_id" in given:
            return given
        cid = given.get("vm_cid") if isinstance(given, dict) else given
        disk = given.get("disk_cid") if isinstance(given, dict) else None
        disk = disk or getattr(self.foundation, "director_disk_cid", None) or f"disk-{cid[3:]}"
        return {"director_id": str(uuid.uuid4()), "installation_id": str(uuid.uuid4()), "current_vm_cid": cid,
                "current_stemcell_id": "stemcell-1", "current_disk_id": "disk-1", "current_release_ids": [],
                "current_manifest_sha": "", "disks": [{"id": "disk-1", "cid": disk, "size": 51200,
                                                       "cloud_properties": {}}],
                "stemcells": [{"id": "stemcell-1", "name": "bosh-vsphere-esxi-ubuntu-jammy-go_agent",
                               "version": "1.500", "cid": "sc-1"}], "releases": []}

    # -- products -------------------------------------------------------------------------------------------------

    def apply_product(self, installation, product, errands):
        guid = product["guid"]
        installation.say(f"===== Running \"bosh --deployment={guid} deploy "
                         f"/var/tempest/workspaces/default/deployments/{guid}.yml\"")
        if product["action"] == "delete":
            self.call("delete_deployment", guid)
        elif guid in self.model.data["deployments"]:
            self.call("deploy", guid, self.model.workspace(self.vm))
        switches = (errands.get(guid) or {}).get("run_post_deploy") or {}
        for errand in product["errands"]:
            chosen = switches.get(errand["name"], errand.get("post_deploy", False))
            if chosen == "default":
                chosen = errand.get("post_deploy", False)
            if chosen is True or chosen == "when-changed" and product["changed"]:
                installation.say(f"===== Running \"bosh --deployment={guid} run-errand {errand['name']}\"")
                if guid in self.model.data["deployments"]:
                    self.foundation.run_errand(guid, errand["name"])
        installation.say("Succeeded")

    def call(self, name, *arguments):
        work = getattr(self.foundation, name, None)
        if work is not None:
            return work(*arguments)
        if name == "deploy" and self.unchanged_deployment(*arguments):
            return None
        raise FoundationError(f"this test foundation cannot {name.replace('_', ' ')} yet")

    def unchanged_deployment(self, guid, workspace):
        director = self.foundation.director
        deployment = director.deployments.get(guid) if director else None
        return deployment is not None and all(
            len(group["instances"]) == workspace["resource_config"].get(guid, {}).get(group["name"])
            for group in deployment["groups"])

    def delete_everything(self, installation):
        time.sleep(self.spec.get("install_seconds", 0.2))
        self.call("tear_down", self.model.workspace(self.vm))
        with self.lock:
            self.model.data.update(director=None, products=[], deployments={})
            self.remember_deployed()
        installation.say("Succeeded")


def change_of(product, kind):
    return {"identifier": product["type"], "label": product["label"], "product_version": product["version"],
            "guid": product["guid"], "change_type": kind, "deployment_status": "pending", "started_at": None,
            "finished_at": None}
