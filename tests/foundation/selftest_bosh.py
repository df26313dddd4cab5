"""Checks that drive the director with the real bosh command line. Where the two disagree, the foundation is wrong."""

import io
import json
import os
import subprocess
import tarfile
import threading
import time

from running import Running
from selftest_parts import call, result

DISKS = {"deployments": [{"name": "dep", "variables": ["secret"], "groups": [
    {"name": "db", "instances": 2, "persistent_disk": 1024,
     "jobs": {"j": {"release": "r", "scripts": {"backup": {"files": {"a": "A"}}}}}},
    {"name": "web", "instances": 1, "jobs": {"w": {"release": "r2"}, "smoke": {"release": "r2", "errand": "script",
     "files": {"bin/run": {"text": "#!/bin/sh\necho smoke on $(hostname)\nexit 0\n", "mode": "0755"}}}}}]}]}


class Bosh:
    def __init__(self, program, work, running, deployment=None):
        self.program, self.running, self.deployment = program, running, deployment
        director = running.ready["director"]
        self.env = {"PATH": os.environ["PATH"], "HOME": work, "BOSH_ENVIRONMENT": director["url"],
                    "BOSH_CLIENT": director["client"], "BOSH_CLIENT_SECRET": director["client_secret"],
                    "BOSH_CA_CERT": running.ready["ca_file"], "BOSH_NON_INTERACTIVE": "true"}

    def run(self, *arguments, deployment=True, status=0):
        which = ["-d", self.deployment] if self.deployment and deployment else []
        done = subprocess.run([self.program, *which, *arguments], env=self.env, capture_output=True, text=True,
                              check=False, timeout=120)
        assert done.returncode == status, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def rows(self, *arguments, status=0, **more):
        text = self.run(*arguments, "--json", status=status, **more)
        tables = json.loads(text).get("Tables") or []
        return [row for table in tables for row in table["Rows"]]


def dep(program, work, **more):
    running = Running({**DISKS, **more})
    return running, Bosh(program, work, running, "dep")


def tarball(name, version, system="ubuntu-jammy", image=True, compressed="gz"):
    """A stemcell as light ones are: a manifest and a small image."""
    stream = io.BytesIO()
    about = f"---\nname: {name}\nversion: \"{version}\"\nsha1: da39a3ee5e6b4b0d3255bfef95601890afd80709\n" \
            f"operating_system: {system}\napi_version: 3\nbosh_protocol: \"1\"\nstemcell_formats:\n- light\n" \
            "cloud_properties:\n  root_device_name: /dev/sda1\n"
    with tarfile.open(fileobj=stream, mode=f"w:{compressed}") as tar:
        for path, content in (("stemcell.MF", about.encode()), *([("image", b"")] if image else [])):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def bosh_sees_what_is_there(program, work):
    running, bosh = dep(program, work)
    about = bosh.rows("env")[0]
    assert about["name"] == "test-director" and about["user"] == "admin", about
    assert about["uuid"] == running.ask("director-db", table="uuid")["rows"]
    listed = bosh.rows("deployments", deployment=False)
    assert [row["name"] for row in listed] == ["dep"] and "r/1.0.0" in listed[0]["release_s"], listed
    assert "ubuntu-jammy" in listed[0]["stemcell_s"] and listed[0]["team_s"] == "", listed
    vms = bosh.rows("vms")
    assert [row["instance"] for row in vms] == ["db/db-0", "db/db-1", "web/web-0"], vms
    assert {row["process_state"] for row in vms} == {"running"} and all(row["vm_cid"].startswith("vm-") for row in vms)
    processes = [row["process"] for row in bosh.rows("instances", "--ps")]
    assert sorted(name for name in processes if name != "") == ["j", "j", "smoke", "w"], processes
    assert bosh.run("manifest").startswith("Using") or "name: dep" in bosh.run("manifest")
    assert [row["name"] for row in bosh.rows("variables")] == ["/test-director/dep/secret"]
    releases = bosh.rows("releases", deployment=False)
    assert [(row["name"], row["version"]) for row in releases] == [("r", "1.0.0*"), ("r2", "1.0.0*")], releases
    assert [row["type"] for row in bosh.rows("configs", deployment=False)] == ["cloud", "runtime"]
    assert "azs:" in bosh.run("config", "--type", "cloud", "--name", "default", deployment=False)
    running.ask("set-vm", instance="db/db-1", unresponsive_agent=True)
    states = {row["instance"]: row["process_state"] for row in bosh.rows("instances")}
    assert states["db/db-1"] == "unresponsive agent" and states["db/db-0"] == "running", states
    bosh.run("-d", "nothing", "manifest", deployment=False, status=1)


def bosh_sees_tasks_and_locks_while_they_are_held(program, work):
    running, bosh = dep(program, work)
    assert bosh.rows("tasks", deployment=False) == [] and bosh.rows("locks", deployment=False) == []
    running.ask("task-plan", match="create deployment", hold="deploy", times=1)
    with open(f"{work}/dep.yml", "w") as file:
        file.write(json.loads(call(running.ready, "/deployments/dep")[2])["manifest"])
    finished = []
    thread = threading.Thread(target=lambda: finished.append(bosh.run("deploy", f"{work}/dep.yml")))
    thread.start()
    running.ask("wait-request", service="director", method="POST", path="/deployments\\?")
    tasks = bosh.rows("tasks", deployment=False)
    assert [(row["state"], row["description"]) for row in tasks] == [("processing", "create deployment dep")], tasks
    assert json.loads(call(running.ready, "/tasks?state=queued&verbose=2")[2]) == []
    running.ask("release-tasks", hold="deploy")
    thread.join(60)
    assert finished and "Updating instance web: web/web-0" in finished[0], finished
    recent = bosh.rows("tasks", "--recent", "--all", deployment=False)
    assert recent[0]["description"] == "create deployment dep" and recent[0]["result"] == "/deployments/dep", recent
    assert bosh.rows("tasks", deployment=False) == []
    # One lock in the database, as of a task that runs.
    running.ask("director-lock", name="lock:deployment:dep", task_id="99", seconds=60)
    locks = bosh.rows("locks", deployment=False)
    assert [(row["type"], row["resource"], row["task_id"]) for row in locks] == [("deployment", "dep", "99")], locks
    assert "maybe a deployment is in progress" in bosh.run("cck", "--report", status=1)
    running.ask("director-lock", name="lock:deployment:dep", task_id="99", seconds=-61)
    assert bosh.rows("locks", deployment=False) == []


def cloud_check_finds_and_resolves(program, work):
    running, bosh = dep(program, work)
    assert bosh.rows("cck", "--report") == []
    cloud = running.ask("iaas")
    of = {vm["name"]: (cid, vm) for cid, vm in cloud["vms"].items()}
    running.ask("iaas-delete", kind="vm", cid=of["db/db-0"][0])
    disk = of["db/db-0"][1]["disks"][0]
    running.ask("iaas-delete", kind="disk", cid=disk)
    running.ask("power", instance="web/web-0", on=False)
    found = bosh.rows("cck", "--report", status=1)
    kinds = sorted((row["type"], row["description"]) for row in found)
    assert kinds == [
        ("missing_disk", f"Disk '{disk}' (db/db-0, 1024M) is missing"),
        ("missing_vm", f"VM for 'db/db-0 (0)' with cloud ID '{of['db/db-0'][0]}' missing."),
        ("unresponsive_agent", f"VM for 'web/web-0 (0)' with cloud ID '{of['web/web-0'][0]}' is not responding.")], kinds
    problems = json.loads(call(running.ready, "/deployments/dep/problems")[2])
    assert {one["type"]: [each["name"] for each in one["resolutions"]] for one in problems} == {
        "missing_vm": ["ignore", "recreate_vm_without_wait", "recreate_vm", "delete_vm_reference"],
        "unresponsive_agent": ["ignore", "reboot_vm", "recreate_vm_without_wait", "recreate_vm", "delete_vm",
                               "delete_vm_reference"],
        "missing_disk": ["ignore", "delete_disk_reference"]}, problems
    assert {one["instance_group"] for one in problems} == {"db", "web"}
    # Ids of no problem are passed over; one that is resolved is not open any more.
    status, headers, _text = call(running.ready, "/deployments/dep/problems", "PUT", {"resolutions": {"4711": "ignore"}})
    assert status == 302
    number = headers["Location"].split("/tasks/")[1]
    for _ in range(100):
        task = json.loads(call(running.ready, f"/tasks/{number}")[2])
        if task["state"] not in ("queued", "processing"):
            break
    assert task["result"] == "0 resolved", task
    bosh.run("cck", "--resolution", "delete_disk_reference", "--resolution", "delete_vm_reference")
    orphaned = bosh.rows("disks", "--orphaned", deployment=False)
    assert [row["disk_cid"] for row in orphaned] == [disk] and orphaned[0]["instance"] == "db/db-0", orphaned
    # The references are gone; the director goes on to miss the VMs of instances that should have one.
    again = bosh.rows("cck", "--report", status=1)
    assert sorted((row["type"], row["description"]) for row in again) == [
        ("missing_vm", "VM for 'db/db-0 (0)' missing."), ("missing_vm", "VM for 'web/web-0 (0)' missing.")], again
    cids = {row["id"]: row["cid"] for row in json.loads(call(running.ready, "/deployments/dep/instances")[2])}
    assert cids["db-0"] is None and cids["web-0"] is None and cids["db-1"], cids
    assert [row["instance"] for row in bosh.rows("vms")] == ["db/db-1"]
    assert bosh.rows("orphaned-vms", deployment=False) == []
    # The VM whose agent was silent is still in the IaaS, and nobody knows it.
    assert of["web/web-0"][0] in running.ask("iaas")["vms"]
    bosh.run("cck", "--auto")
    assert bosh.rows("cck", "--report") == []
    assert len(bosh.rows("vms")) == 3


def disks_out_of_place_are_seen(program, work):
    running, bosh = dep(program, work)
    cloud = running.ask("iaas")
    of = {vm["name"]: (cid, vm["disks"]) for cid, vm in cloud["vms"].items()}
    running.ask("director-disk", disk=of["db/db-0"][1][0], active=False)
    running.ask("iaas-detach", vm=of["db/db-1"][0], disk=of["db/db-1"][1][0])
    kinds = sorted(row["type"] for row in bosh.rows("cck", "--report", status=1))
    assert kinds == ["inactive_disk", "mount_info_mismatch"], kinds
    bosh.run("cck", "--resolution", "activate_disk", "--resolution", "reattach_disk")
    assert bosh.rows("cck", "--report") == []


def stemcells_are_uploaded_and_needed(program, work):
    running, bosh = dep(program, work)
    present = bosh.rows("stemcells", deployment=False)
    assert len(present) == 1 and present[0]["version"] == "1.500*", present
    with open(f"{work}/stemcell.tgz", "wb") as file:
        file.write(tarball("bosh-test-ubuntu-jammy-go_agent", "1.501"))
    with open(f"{work}/dep.yml", "w") as file:
        file.write(json.loads(call(running.ready, "/deployments/dep")[2])["manifest"].replace("1.500", "1.501"))
    failed = bosh.run("deploy", f"{work}/dep.yml", status=1)
    assert "Stemcell version '1.501' for OS 'ubuntu-jammy' doesn't exist" in failed, failed
    bosh.run("upload-stemcell", f"{work}/stemcell.tgz", deployment=False)
    assert "already exists" in bosh.run("--tty", "upload-stemcell", f"{work}/stemcell.tgz", deployment=False)
    before = {row["version"]: row["cid"] for row in bosh.rows("stemcells", deployment=False)}
    bosh.run("upload-stemcell", "--fix", f"{work}/stemcell.tgz", deployment=False)
    after = {row["version"]: row["cid"] for row in bosh.rows("stemcells", deployment=False)}
    assert before["1.501"] != after["1.501"] and before["1.500*"] == after["1.500*"], (before, after)
    # A stemcell whose image is not in the IaaS: the row alone does not help, only --fix does.
    for cid in list(running.ask("iaas")["stemcells"]):
        running.ask("iaas-delete", kind="stemcell", cid=cid)
    failed = bosh.run("deploy", "--recreate", f"{work}/dep.yml", status=1)
    assert f"Stemcell '{after['1.501']}' not found" in failed, failed
    bosh.run("upload-stemcell", f"{work}/stemcell.tgz", deployment=False)
    bosh.run("deploy", "--recreate", f"{work}/dep.yml", status=1)
    sha1 = subprocess.run(["sha1sum", f"{work}/stemcell.tgz"], capture_output=True, text=True, check=True).stdout[:40]
    place = f"file://{work}/stemcell.tgz"
    status, headers, _text = call(running.ready, "/stemcells?fix=true", "POST", {"location": place, "sha1": "0" * 40},
                                  headers={"Content-Type": "application/json", **basic(running)})
    assert "digest" in finished(running, headers)["result"]
    status, headers, _text = call(running.ready, "/stemcells?fix=true", "POST", {"location": place, "sha1": sha1},
                                  headers={"Content-Type": "application/json", **basic(running)})
    assert finished(running, headers)["state"] == "done"
    bosh.run("deploy", "--recreate", f"{work}/dep.yml")
    with open(f"{work}/bad.tgz", "wb") as file:
        file.write(tarball("x", "1", image=False))
    assert "Stemcell image not found" in bosh.run("upload-stemcell", f"{work}/bad.tgz", deployment=False, status=1)
    assert [row["version"] for row in bosh.rows("stemcells", deployment=False)] == ["1.501*", "1.500"]


def basic(running):
    import base64

    director = running.ready["director"]
    pair = f"{director['client']}:{director['client_secret']}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def finished(running, headers):
    number = headers["Location"].split("/tasks/")[1]
    for _ in range(200):
        task = json.loads(call(running.ready, f"/tasks/{number}")[2])
        if task["state"] not in ("queued", "processing"):
            return task
        time.sleep(0.05)
    raise AssertionError("the task does not end")


def deployments_change_and_go(program, work):
    running, bosh = dep(program, work)
    text = json.loads(call(running.ready, "/deployments/dep")[2])["manifest"]
    running.ask("put-file", instance="db/db-0", path="/var/vcap/store/kept", text="data")
    running.ask("put-file", instance="db/db-0", path="/tmp/lost", text="data")
    old = {row["instance"]: row["vm_cid"] for row in bosh.rows("vms")}
    with open(f"{work}/dep.yml", "w") as file:
        file.write(text)
    bosh.run("deploy", f"{work}/dep.yml")
    assert {row["instance"]: row["vm_cid"] for row in bosh.rows("vms")} == old
    bosh.run("deploy", "--recreate", f"{work}/dep.yml")
    new = {row["instance"]: row["vm_cid"] for row in bosh.rows("vms")}
    assert set(new) == set(old) and not set(new.values()) & set(old.values()), new
    assert running.ask("run", instance="db/db-0", script="cat /var/vcap/store/kept; ls /tmp/lost")["stdout"] == "data"
    bosh.run("recreate", "db/1")
    last = {row["instance"]: row["vm_cid"] for row in bosh.rows("vms")}
    assert [name for name in sorted(last) if last[name] != new[name]] == ["db/db-1"], last
    # One instance fewer: the first stays, its machine knows, the disk of the other is orphaned.
    with open(f"{work}/dep.yml", "w") as file:
        file.write(text.replace("instances: 2", "instances: 1"))
    bosh.run("deploy", f"{work}/dep.yml")
    assert [row["instance"] for row in bosh.rows("vms")] == ["db/db-0", "web/web-0"]
    assert running.ask("run", instance="db/db-0", script="cat /var/lib/foundation/groups")["stdout"] == "db 1\nweb 1\n"
    assert len(bosh.rows("disks", "--orphaned", deployment=False)) == 1
    with open(f"{work}/dep.yml", "w") as file:
        file.write(text)
    bosh.run("deploy", f"{work}/dep.yml")
    vms = bosh.rows("vms")
    assert [row["instance"].split("/")[0] for row in vms] == ["db", "db", "web"], vms
    # The new machines are as good as the first ones: SSH users, scripts.
    answer = call(running.ready, "/deployments/dep/ssh", "POST", {
        "command": "setup", "deployment_name": "dep", "target": {"job": "db", "ids": [], "indexes": []},
        "params": {"user": "bosh_x", "public_key": "ssh-ed25519 AAAA x"}})
    assert [one["status"] for one in result(running.ready, answer)] == ["success"] * 2
    assert [row["name"] for row in bosh.rows("errands")] == ["smoke"]
    assert "smoke on web-web-0" in bosh.run("run-errand", "smoke")
    running.ask("power", instance="web/web-0", on=False)
    assert "Timed out sending 'get_state'" in bosh.run("deploy", f"{work}/dep.yml", status=1)
    bosh.run("deploy", "--fix", f"{work}/dep.yml")
    bosh.run("update-resurrection", "off", deployment=False)
    assert running.ask("director-db", table="resurrection_paused")["rows"] is True
    bosh.run("delete-deployment")
    assert bosh.rows("deployments", deployment=False) == [] and running.ask("iaas")["vms"] == {}
    assert len(bosh.rows("disks", "--orphaned", deployment=False)) == 3
    bosh.run("clean-up", "--all", deployment=False)
    assert bosh.rows("disks", "--orphaned", deployment=False) == [] and running.ask("iaas")["disks"] == {}


def the_resurrector_works_unless_it_is_paused(program, work):
    running, bosh = dep(program, work, director={"resurrect_seconds": 0.3})
    cids = {name: cid for cid, name in ((cid, vm["name"]) for cid, vm in running.ask("iaas")["vms"].items())}
    running.ask("iaas-delete", kind="vm", cid=cids["web/web-0"])
    for _ in range(100):
        if len([vm for vm in bosh.rows("vms") if vm["process_state"] == "running"]) == 3:
            break
    assert bosh.rows("tasks", "--recent", "--all")[-1]["description"], "tasks"
    tasks = running.ask("tasks")["tasks"]
    assert any(task["description"] == "scan and fix" and task["message"] == "scan and fix complete" for task in tasks)
    bosh.run("update-resurrection", "off", deployment=False)
    cids = {name: cid for cid, name in ((cid, vm["name"]) for cid, vm in running.ask("iaas")["vms"].items())}
    running.ask("iaas-delete", kind="vm", cid=cids["web/web-0"])
    time.sleep(1)
    assert [row["type"] for row in bosh.rows("cck", "--report", status=1)] == ["missing_vm"]


CHECKS = [the_resurrector_works_unless_it_is_paused, bosh_sees_what_is_there, bosh_sees_tasks_and_locks_while_they_are_held, cloud_check_finds_and_resolves,
          disks_out_of_place_are_seen, stemcells_are_uploaded_and_needed, deployments_change_and_go]
