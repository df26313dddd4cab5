"""The BOSH director as BBR's clients see it: deployments, VMs, SSH users, tasks.

Stateful: an SSH setup task really makes the users on the instances before it is done. Knows instances
only through `add_user` and `delete_users`.
"""

import base64
import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

from manifest import manifest_text
from tasks import Tasks
from web import Answer, Service


class Director(Service):
    name = "director"

    def __init__(self, authority, spec, deployments, instances, uaa=None):
        self.spec, self.uaa = spec, uaa
        self.username, self.password = spec.get("username", "admin"), spec.get("password", "admin")
        self.deployments = {deployment["name"]: deployment for deployment in deployments}
        self.instances = instances
        self.tasks = Tasks(spec.get("tasks", []))
        self.uuid = str(uuid.uuid4())
        super().__init__(authority, spec.get("port", 0))

    # -- routing ---------------------------------------------------------------------------------

    def answer(self, request):
        if request.route == "/info":
            return Answer.json(self.info())
        request.entry["authorized"] = self.authorized(request.headers.get("Authorization"))
        if not request.entry["authorized"]:
            raise Answer(401, f"Not authorized: '{request.route}'\n",
                         headers={"WWW-Authenticate": 'Basic realm="BOSH Director"'})
        parts = request.route.strip("/").split("/")
        if parts[0] == "deployments":
            return self.deployment_call(request, parts[1:])
        if parts[0] == "tasks" and len(parts) in (2, 3) and parts[1].isdigit():
            return self.task_call(request, int(parts[1]), parts[2:])
        return Answer(404, "")

    def info(self):
        authentication = {"type": "basic", "options": {}}
        if self.uaa:
            authentication = {"type": "uaa", "options": {"url": self.spec.get("uaa_url", self.uaa.url),
                                                         "urls": [self.uaa.url]}}
        return {"name": "test-director", "uuid": self.uuid, "version": "280.1.0 (00000000)", "user": None,
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
            listed = [{"name": name, "cloud_config": "latest", "releases": [], "stemcells": [], "teams": [],
                       "locked": False} for name in sorted(self.deployments)]
            return Answer.json(listed)
        deployment = self.deployments.get(parts[0])
        if deployment is None:
            raise Answer.json({"code": 70000, "description": f"Deployment '{parts[0]}' doesn't exist"}, 404)
        call = (request.command, *parts[1:])
        if call == ("GET",):
            return Answer.json({"manifest": manifest_text(deployment)})
        if call == ("GET", "vms"):
            if request.query.get("format") != "full":
                return Answer.json([{"job": vm["job_name"], "index": vm["index"], "cid": vm["vm_cid"]}
                                    for vm in self.vms(deployment)])
            return self.task(request, "retrieve vm-stats", deployment,
                             lambda: "".join(json.dumps(vm) + "\n" for vm in self.vms(deployment)))
        if call == ("POST", "ssh"):
            order = json.loads(request.body)
            command, target = order.get("command"), order.get("target", {})
            if command not in ("setup", "cleanup"):
                raise Answer.json({"code": 40000, "description": f"unknown ssh command {command}"}, 400)
            return self.task(request, f"ssh: {command}:{json.dumps(target)}", deployment,
                             lambda: self.ssh(deployment, command, target, order.get("params", {})))
        return Answer(404, "")

    def members(self, deployment):
        return [(group, member) for group in deployment["groups"] for member in group["instances"]]

    def vms(self, deployment):
        found = []
        for group, member in self.members(deployment):
            instance = self.instances.get(member["key"])
            address = f"127.0.0.1:{instance.port}" if instance else "10.0.0.1"
            vm = {"vm_cid": f"vm-{member['id']}", "agent_id": f"agent-{member['id']}", "job_name": group["name"],
                  "id": member["id"], "index": member["index"], "bootstrap": member["bootstrap"],
                  "ips": [address], "az": "z1", "state": "started", "job_state": "running", "vm_type": "default",
                  "resource_pool": "default", "disk_cid": None, "disk_cids": [], "dns": [], "vitals": {},
                  "processes": [], "resurrection_paused": False, "ignore": False, "cloud_properties": {},
                  **member.get("vm", {})}
            for name in member.get("vm_without", []):
                vm.pop(name, None)
            found.append(vm)
        return found

    def ssh(self, deployment, command, target, params):
        ids = [str(value) for value in target.get("ids") or []]
        indexes = [str(value) for value in target.get("indexes") or []]
        chosen = [(group, member) for group, member in self.members(deployment)
                  if target.get("job") in (None, "", group["name"])
                  and (not ids and not indexes or member["id"] in ids
                       or str(member["index"]) in (ids or indexes))
                  and not member.get("no_vm")]
        if not chosen:
            raise RuntimeError(f"No instance with a VM in deployment '{deployment['name']}' matched filter "
                               f"{json.dumps(target)}")
        with ThreadPoolExecutor(max_workers=8) as pool:
            results = list(pool.map(lambda pair: self.ssh_one(*pair, command, params), chosen))
        return json.dumps(results) + "\n"

    def ssh_one(self, group, member, command, params):
        result = {"command": command, "status": "success"}
        instance = self.instances.get(member["key"])
        if member.get("unresponsive_agent") or instance is None:
            raise RuntimeError(f"Timed out sending 'ssh' to instance: '{group['name']}/{member['id']}', "
                               f"agent-id: 'agent-{member['id']}' after 45 seconds")
        if command == "setup":
            if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", params["user"]):
                raise RuntimeError("Error executing agent command: Creating user: invalid user name")
            instance.add_user(params["user"], params["public_key"])
            result.update(ip=f"127.0.0.1:{instance.port}", host_public_key=instance.host_public_key)
        else:
            instance.delete_users(params["user_regex"])
        result.update({"id": member["id"], "index": member["index"], "job": group["name"], **member.get("ssh", {})})
        for name in member.get("ssh_without", []):
            result.pop(name, None)
        return result

    # -- tasks --------------------------------------------------------------------------------------

    def task(self, request, description, deployment, work):
        number = self.tasks.start(description, deployment["name"], work)
        request.entry["task"] = number
        host = request.headers.get("Host") or f"127.0.0.1:{self.port}"
        return Answer(302, "", headers={"Location": f"https://{host}/tasks/{number}"})

    def task_call(self, request, number, rest):
        task = self.tasks.all.get(number)
        if task is None:
            raise Answer.json({"code": 10000, "description": f"Task {number} not found"}, 404)
        if not rest:
            return Answer.json(task.to_json(self.username))
        if rest != ["output"]:
            return Answer(404, "")
        kind = request.query.get("type", "debug")
        if kind not in ("event", "result", "debug", "cpi", "none"):
            raise Answer.json({"code": 600000, "description": f"Unknown type {kind}"}, 401)
        text = task.text(kind)
        if text is None:
            return Answer(204)
        return ranged(text.encode(), request.headers.get("Range"))


def ranged(body, header):
    """What the director's web framework makes of a Range header."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if not match or not body:
        return Answer(200, body)
    first, last = int(match[1]), min(int(match[2] or len(body) - 1), len(body) - 1)
    if first > last:
        return Answer(416, "Byte range unsatisfiable", headers={"Content-Range": f"bytes */{len(body)}"})
    return Answer(206, body[first:last + 1], headers={"Content-Range": f"bytes {first}-{last}/{len(body)}"})
