"""The BOSH director as its clients see it: deployments, VMs, SSH users, tasks, and what a restore needs of it.

Stateful: what it says is what its database (database.py) says, and its tasks really make users, machines and disks
before they are done. Knows instances only through `add_user` and `delete_users`, and VMs through the IaaS (iaas.py).
"""

import base64
import contextlib
import json
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from cloudcheck import Cloudcheck
from database import BLOBS, DUMP, Blobstore, Database, stamp
from deploying import Deploying, read_manifest
from library import Library
from manifest import listed, manifest_text
from tasks import DirectorError, Tasks
from uaa import team_may
from web import Answer, Service

STEMCELL = {"name": "bosh-test-ubuntu-jammy-go_agent", "operating_system": "ubuntu-jammy", "version": "1.500"}
CONFIGS = (("cloud", "default", "azs:\n- name: z1\nvm_types:\n- name: default\n"),
           ("runtime", "default", "addons: []\nreleases: []\n"))


class Director(Cloudcheck, Deploying, Library, Service):
    name = "director"
    name_in_credhub = "test-director"

    def __init__(self, authority, spec, deployments, instances, uaa=None, iaas=None, host=None):
        """`host`: the machine whose persistent disk holds database and blobstore, if there is one."""
        self.spec, self.uaa, self.iaas, self.host = spec, uaa, iaas, host
        self.username, self.password = spec.get("username", "admin"), spec.get("password", "admin")
        self.instances = instances
        self.members = {}  # what the spec says of an instance beyond what a database holds, by its key
        self.db, self.blobs = Database(), Blobstore()
        user = uaa.client if uaa else self.username
        self.tasks = Tasks(spec.get("tasks", []), user, self.keep_tasks, spec.get("checkpoint_seconds", 180))
        self.db.loaded = lambda: self.tasks.load(self.db.rows["tasks"])
        self.lock_seconds = spec.get("lock_seconds", 240)
        if host is not None:
            self.blobs.attach(host.root + BLOBS)
        self.seed(deployments)
        if host is not None:
            self.db.attach(host.root + DUMP)
        super().__init__(authority, spec.get("port", 0))
        self.ended = False
        if spec.get("resurrect_seconds"):
            threading.Thread(target=self.resurrect, args=(spec["resurrect_seconds"],), daemon=True).start()

    @property
    def deployments(self):
        return self.db["deployments"]

    @property
    def uuid(self):
        return self.db["uuid"]

    def keep_tasks(self):
        with self.db.change() as rows:
            rows["tasks"] = self.tasks.rows()

    # -- what the spec describes, as rows --------------------------------------------------------------

    def seed(self, deployments):
        if self.spec.get("empty"):
            return
        cid = self.iaas.create_stemcell("{name}/{version}".format(**STEMCELL))
        with self.db.change() as rows:
            rows["stemcells"].append({"id": self.db.next_id("stemcell"), **STEMCELL, "sha1": "0" * 40, "cid": cid,
                                      "api_version": 3})
        for kind, name, content in CONFIGS:
            self.add_config(kind, name, content)
        for deployment in deployments:
            self.seed_deployment(deployment, cid)

    def seed_deployment(self, deployment, stemcell):
        name, releases = deployment["name"], {}
        for group in deployment["groups"]:
            for job, value in group["jobs"].items():
                if value is not None:
                    releases.setdefault(value.get("release") or "r", {})[job] = value
            for member in group["instances"]:
                self.seed_instance(name, group, member, stemcell)
        for release, jobs in releases.items():
            self.add_release(release, "1.0.0", jobs)
        named = {value.get("release", "r") for group in deployment["groups"] for _job, value in listed(group)}
        with self.db.change() as rows:
            rows["deployments"][name] = {
                "name": name, "manifest": manifest_text(deployment),
                "releases": [{"name": release, "version": "1.0.0"} for release in sorted(named) if release],
                "stemcells": [{"name": STEMCELL["name"], "version": STEMCELL["version"]}],
                "teams": deployment.get("teams", []),
                "variables": [{"id": str(number), "name": f"/{self.name_in_credhub}/{name}/{one}"}
                              for number, one in enumerate(deployment.get("variables", []), 1)]}
        self.tell_groups(name)

    def seed_instance(self, deployment, group, member, stemcell):
        key, machine = member["key"], self.instances.get(member["key"])
        self.members[key] = member
        if machine is not None:
            machine.spec["template"] = dict(listed(group))
        agent = f"agent-{member['id']}"
        if any(row["vm"]["agent_id"] == agent for row in self.db["instances"] if row["vm"]):
            agent = str(uuid.uuid4())
        if group.get("lifecycle") == "errand":
            self.add_instance(deployment, group, member, None, [])
            return
        vm = {"cid": f"vm-{uuid.uuid4()}", "agent_id": agent, "stemcell_name": STEMCELL["name"],
              "stemcell_version": STEMCELL["version"], "created_at": stamp(),
              "ips": [f"127.0.0.1:{machine.port}" if machine else "10.0.0.1"]}
        disks = []
        if group.get("persistent_disk"):
            disks.append({"id": self.db.next_id("disk"), "disk_cid": self.iaas.create_disk(group["persistent_disk"]),
                          "size": group["persistent_disk"], "active": True})
        if machine is not None:
            self.iaas.register(vm["cid"], agent, machine, [disk["disk_cid"] for disk in disks], stemcell)
        self.add_instance(deployment, group, member, vm, disks)

    def add_instance(self, deployment, group, member, vm, disks):
        with self.db.change() as rows:
            rows["instances"].append({
                "id": self.db.next_id("instance"), "deployment": deployment, "job": group["name"],
                "uuid": member["id"], "index": member["index"], "bootstrap": member["bootstrap"], "az": "z1",
                "state": "started", "ignore": False, "lifecycle": group.get("lifecycle", "service"), "vm": vm,
                "disks": disks})

    # -- routing ---------------------------------------------------------------------------------

    def answer(self, request):
        try:
            return self.checked(request)
        except (KeyError, ValueError, TypeError, AttributeError) as error:  # as the real one answers what it chokes on
            return Answer.json({"code": 600000, "description": f"{type(error).__name__}: {error}"}, 500)

    def end(self):
        self.ended = True
        super().end()

    def checked(self, request):
        if self.host is not None and not self.host.is_on():
            raise Answer(502, "<html><head><title>502 Bad Gateway</title></head></html>", "text/html")
        if request.route == "/info":
            known = request.headers.get("Authorization") and self.authorized(request.headers["Authorization"])
            return Answer.json(self.info(self.tasks.user if known else None))
        request.entry["authorized"] = self.authorized(request.headers.get("Authorization"))
        if not request.entry["authorized"]:
            raise Answer(401, f"Not authorized: '{request.route}'\n",
                         headers={"WWW-Authenticate": 'Basic realm="BOSH Director"'})
        self.db.refresh()
        parts = request.route.strip("/").split("/")
        request.team = self.uaa.team(request.headers.get("Authorization")) if self.uaa else None
        if request.team and not team_may(request, parts, self.deployments):
            raise Answer.json({"code": 600000, "description": "Require one of the scopes: bosh.admin"}, 401)
        if parts[0] == "deployments":
            return self.deployment_call(request, parts[1:])
        if parts[0] in ("tasks", "task"):
            return self.tasks_call(request, parts)
        return self.other_call(request, (request.command, *parts))

    def other_call(self, request, call):
        if call == ("GET", "locks"):
            return Answer.json(self.locks())
        if call == ("GET", "stemcells"):
            return self.list_stemcells()
        if call == ("POST", "stemcells"):
            return self.upload_stemcell(request)
        if call == ("POST", "stemcell_uploads"):
            return self.stemcell_needed(request)
        if call[:2] == ("DELETE", "stemcells") and len(call) == 4:
            return self.task(request, f"delete stemcell: {call[2]}/{call[3]}", None,
                             lambda task: self.delete_stemcell(task, call[2], call[3]), "delete_stemcell")
        if call == ("GET", "releases"):
            return self.list_releases()
        if call == ("GET", "configs"):
            return self.list_configs(request)
        if call == ("POST", "configs"):
            return self.update_config(request)
        if call == ("GET", "resurrection"):
            return Answer.json({"resurrection": not self.db["resurrection_paused"]})
        if call == ("PUT", "resurrection"):
            with self.db.change() as rows:
                rows["resurrection_paused"] = bool(json.loads(request.body)["resurrection_paused"])
            return Answer(200, "")
        if call == ("GET", "disks"):
            return Answer.json(self.db["orphan_disks"])
        if call[:2] == ("DELETE", "disks") and len(call) == 3:
            return self.task(request, f"delete orphan disks {call[2]}", None,
                             lambda task: self.delete_orphan_disk(call[2]))
        if call == ("GET", "orphaned_vms"):
            return Answer.json(self.db["orphaned_vms"])
        if call == ("POST", "cleanup"):
            config = json.loads(request.body).get("config") or {}
            return self.task(request, "clean up", None, lambda task: self.cleanup(
                task, config.get("remove_all"), config.get("keep_orphaned_disks")))
        return Answer(404, "")

    def info(self, user=None):
        authentication = {"type": "basic", "options": {}}
        if self.uaa:
            authentication = {"type": "uaa", "options": {"url": self.spec.get("uaa_url", self.uaa.url),
                                                         "urls": [self.uaa.url]}}
        return {"name": "test-director", "uuid": self.uuid, "version": "280.1.0 (00000000)", "user": user,
                "cpi": "warden_cpi", "stemcell_os": "ubuntu-jammy", "stemcell_version": "1.500",
                "user_authentication": authentication,
                "features": {"snapshots": {"status": False}, "config_server": {"status": True}}}

    def authorized(self, header):
        if self.uaa:
            return self.uaa.accepts(header)
        expected = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return header == f"Basic {expected}"

    # -- deployments -------------------------------------------------------------------------------

    def deployment_call(self, request, parts):
        if not parts:
            return self.deploy_call(request) if request.command == "POST" else self.list_deployments(request)
        name, call = parts[0], (request.command, *parts[1:])
        deployment = self.deployments.get(name)
        if call == ("POST", "diff"):
            read_manifest(request.body.decode())
            return Answer.json({"context": {"cloud_config_ids": [1], "runtime_config_ids": [2]}, "diff": []})
        if deployment is None:
            raise Answer.json({"code": 70000, "description": f"Deployment '{name}' doesn't exist"}, 404)
        if call == ("GET",):
            return Answer.json({"manifest": deployment["manifest"]})
        if call == ("DELETE",):
            return self.task(request, f"delete deployment {name}", name, lambda task: self.delete_deployment(
                task, name, request.query.get("force") == "true"), "delete_deployment")
        if call in (("GET", "vms"), ("GET", "instances")):
            return self.vms_call(request, name, with_vm=call[1] == "vms")
        if call == ("GET", "variables"):
            return Answer.json(deployment["variables"])
        if call == ("POST", "ssh"):
            order = json.loads(request.body)
            command, target = order.get("command"), order.get("target", {})
            if command not in ("setup", "cleanup"):
                raise Answer.json({"code": 40000, "description": f"unknown ssh command {command}"}, 400)
            return self.task(request, f"ssh: {command}:{json.dumps(target)}", name,
                             lambda _task: self.ssh(name, command, target, order.get("params", {})), "ssh")
        if call == ("POST", "scans"):
            return self.task(request, "scan cloud", name, lambda task: self.scan(task, name), "cck_scan")
        if call == ("GET", "problems"):
            return self.problems(name)
        if call == ("PUT", "problems"):
            wanted = json.loads(request.body).get("resolutions")
            return self.task(request, "apply resolutions", name, lambda task: self.resolve(task, name, wanted),
                             "cck_apply")
        if call[:2] == ("PUT", "jobs") and 3 <= len(call) <= 4 and request.query.get("state") == "recreate":
            which = {"group": None if call[2] == "*" else call[2], "instance": call[3] if len(call) == 4 else None}
            options = {"recreate": which, "fix": request.query.get("fix") == "true"}
            return self.task(request, f"create deployment {name}", name, lambda task: self.deploy(
                task, deployment["manifest"], options), "update_deployment")
        if call == ("GET", "errands"):
            return Answer.json([{"name": one} for one in self.errands(name)])
        if len(call) == 4 and call[:2] == ("POST", "errands") and call[3] == "runs":
            options = json.loads(request.body or b"{}")
            return self.task(request, f"run errand {call[2]} from deployment {name}", name,
                             lambda task: self.run_errand(task, name, call[2], options), "run_errand")
        return Answer(404, "")

    def list_deployments(self, request):
        found = []
        for name, row in sorted(self.deployments.items()):
            if request.team and request.team not in row["teams"]:
                continue
            entry = {"name": name, "teams": row["teams"], "locked": f"lock:deployment:{name}" in self.db["locks"]}
            if request.query.get("exclude_configs") != "true":
                entry["cloud_config"] = "latest"
            if request.query.get("exclude_releases") != "true":
                entry["releases"] = row["releases"]
            if request.query.get("exclude_stemcells") != "true":
                entry["stemcells"] = row["stemcells"]
            found.append(entry)
        return Answer.json(found)

    def deploy_call(self, request):
        text = request.body.decode(errors="replace")
        try:
            name = read_manifest(text)["name"]
        except DirectorError as error:
            raise Answer.json({"code": error.code, "description": str(error)}, 400) from None
        options = {key: request.query.get(key) == "true" for key in ("recreate", "fix")}
        return self.task(request, f"create deployment {name}", name,
                         lambda task: self.deploy(task, text, options), "update_deployment")

    def vms_call(self, request, name, with_vm):
        if request.query.get("format") == "full":
            return self.task(request, "retrieve vm-stats", name,
                             lambda _task: "".join(json.dumps(vm) + "\n" for vm in self.vms(name, with_vm)), "vms")
        rows = [row for row in self.db.instances_of(name) if row["vm"] or not with_vm]
        return Answer.json([{
            "agent_id": row["vm"] and row["vm"]["agent_id"], "cid": row["vm"] and row["vm"]["cid"], "job": row["job"],
            "index": row["index"], "id": row["uuid"], "az": row["az"], "ips": self.addresses(row),
            **({} if with_vm else {"expects_vm": row["lifecycle"] == "service" and row["state"] != "detached"})}
            for row in rows])

    @staticmethod
    def key(row):
        return f"{row['deployment']}/{row['job']}/{row['uuid']}"

    def member(self, row):
        """What was asked of this instance in the spec or since; not of another that has its name."""
        machine = self.instances.get(self.key(row))
        return machine.spec if machine else self.members.get(self.key(row), {})

    def machine(self, row):
        """The machine behind an instance, on or off; None where there is none of ours."""
        vm = row["vm"] and self.iaas.vms.get(row["vm"]["cid"])
        return vm["instance"] if vm else None

    def addresses(self, row):
        machine = self.machine(row)
        return [f"127.0.0.1:{machine.port}"] if machine else row["vm"]["ips"] if row["vm"] else []

    def vms(self, deployment, with_vm=True):
        found = []
        for row in self.db.instances_of(deployment):
            if with_vm and row["vm"] is None:
                continue
            vm, member = row["vm"] or {}, self.member(row)
            answers = self.iaas.agent(vm.get("agent_id"))
            silent = "unresponsive agent" if row["vm"] else None
            disks = [disk["disk_cid"] for disk in row["disks"] if disk["active"]]
            line = {"vm_cid": vm.get("cid"), "active": bool(vm), "agent_id": vm.get("agent_id"),
                    "job_name": row["job"], "id": row["uuid"], "index": row["index"], "bootstrap": row["bootstrap"],
                    "ips": self.addresses(row), "az": row["az"], "state": row["state"],
                    "job_state": "running" if answers or member.get("absent") else silent, "vm_type": "default",
                    "resource_pool": "default", "disk_cid": disks[0] if disks else None, "disk_cids": disks, "dns": [],
                    "vitals": {}, "processes": [], "resurrection_paused": self.db["resurrection_paused"],
                    "ignore": row["ignore"], "cloud_properties": {},
                    "stemcell": {"name": vm.get("stemcell_name"), "version": vm.get("stemcell_version"),
                                 "api_version": 3},
                    **member.get("vm", {})}
            if answers and "processes" not in member.get("vm", {}):
                line["processes"] = [{"name": name, "state": "running"} for name in sorted(
                    member.get("template") or member.get("jobs") or {})]
            for name in member.get("vm_without", []):
                line.pop(name, None)
            found.append(line)
        return found

    def ssh(self, deployment, command, target, params):
        ids = [str(value) for value in target.get("ids") or []]
        indexes = [str(value) for value in target.get("indexes") or []]
        chosen = [row for row in self.db.instances_of(deployment)
                  if target.get("job") in (None, "", row["job"])
                  and (not ids and not indexes or row["uuid"] in ids or str(row["index"]) in (ids or indexes))
                  and row["vm"] and not self.member(row).get("no_vm")]
        if not chosen:
            raise RuntimeError(f"No instance with a VM in deployment '{deployment}' matched filter "
                               f"{json.dumps(target)}")
        with ThreadPoolExecutor(max_workers=8) as pool:
            results = list(pool.map(lambda row: self.ssh_one(row, command, params), chosen))
        return json.dumps(results) + "\n"

    def ssh_one(self, row, command, params):
        result = {"command": command, "status": "success"}
        member, machine = self.member(row), self.machine(row)
        if member.get("unresponsive_agent") or machine is None:
            raise DirectorError(450002, f"Timed out sending 'ssh' to instance: '{row['job']}/{row['uuid']}', "
                                f"agent-id: '{row['vm']['agent_id']}' after 45 seconds")
        if command == "setup":
            if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", params["user"]):
                raise RuntimeError("Error executing agent command: Creating user: invalid user name")
            machine.add_user(params["user"], params["public_key"])
            result.update(ip=f"127.0.0.1:{machine.port}", host_public_key=machine.host_public_key)
        else:
            machine.delete_users(params["user_regex"])
        result.update({"id": row["uuid"], "index": row["index"], "job": row["job"], **member.get("ssh", {})})
        for name in member.get("ssh_without", []):
            result.pop(name, None)
        return result

    # -- tasks and locks --------------------------------------------------------------------------------

    def task(self, request, description, deployment, work, kind=""):
        task = self.tasks.start(description, deployment, work, kind)
        request.entry["task"] = task.number
        host = request.headers.get("Host") or f"127.0.0.1:{self.port}"
        return Answer(302, "", headers={"Location": f"https://{host}/tasks/{task.number}"})

    def tasks_call(self, request, parts):
        if parts == ["tasks"]:
            query = request.query
            states = [state for state in query.get("state", "").split(",") if state]
            limit = max(1, int(query["limit"])) if query.get("limit") else None
            return Answer.json(self.tasks.listed(states, query.get("verbose", "1") != "1", query.get("deployment"),
                                                 limit))
        if len(parts) not in (2, 3) or not parts[1].isdigit():
            return Answer(404, "")
        number, rest = int(parts[1]), parts[2:]
        task = self.tasks.all.get(number)
        if task is None:
            raise Answer.json({"code": 10000, "description": f"Task {number} not found"}, 404)
        if parts[0] == "task" and request.command == "DELETE":
            if task.peek() not in ("queued", "processing"):
                raise Answer(400, f"Cannot cancel task {number}: invalid state ({task.peek()})\n")
            self.tasks.cancel(number)
            return Answer(204)
        if not rest:
            return Answer.json(task.to_json())
        if rest != ["output"]:
            return Answer(404, "")
        kind = request.query.get("type", "debug")
        if kind not in ("event", "result", "debug", "cpi", "none"):
            raise Answer.json({"code": 600000, "description": f"Unknown type {kind}"}, 401)
        text = task.text(kind)
        if text is None:
            return Answer(204)
        return ranged(text.encode(), request.headers.get("Range"))

    @contextlib.contextmanager
    def locked(self, task, name, wait=10, otherwise=None):
        """Holds a lock of the database; one whose time is over may be taken over."""
        end = time.monotonic() + wait
        while True:
            with self.db.change() as rows:
                held = rows["locks"].get(name)
                if held is None or held["expired_at"] < time.time():
                    rows["locks"][name] = {"task_id": str(task.number), "expired_at": time.time() + self.lock_seconds}
                    break
            if time.monotonic() >= end:
                raise DirectorError(100, otherwise or f"Failed to acquire lock for {name} uid: {uuid.uuid4()}. "
                                    f"Locking task id is {held['task_id']}")
            time.sleep(0.1)
        try:
            yield
        finally:
            with self.db.change() as rows:
                if rows["locks"].get(name, {}).get("task_id") == str(task.number):
                    del rows["locks"][name]

    def locks(self):
        """Those that ended a minute ago or more are dropped at the look."""
        with self.db.change() as rows:
            rows["locks"] = {name: one for name, one in rows["locks"].items() if one["expired_at"] > time.time() - 60}
            return [{"type": name.split(":")[1], "resource": name.split(":")[2:], "timeout": f"{one['expired_at']:.6f}",
                     "task_id": one["task_id"]} for name, one in rows["locks"].items()]


def ranged(body, header):
    """What the director's web framework makes of a Range header."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if not match or not body:
        return Answer(200, body)
    first, last = int(match[1]), min(int(match[2] or len(body) - 1), len(body) - 1)
    if first > last:
        return Answer(416, "Byte range unsatisfiable", headers={"Content-Range": f"bytes */{len(body)}"})
    return Answer(206, body[first:last + 1], headers={"Content-Range": f"bytes {first}-{last}/{len(body)}"})
