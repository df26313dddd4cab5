"""A foundation is lost and restored elsewhere, with the real bbr and the real bosh: what a second, empty foundation is
and does. Needs both programs.
"""

import json

from opsclient import OpsClient
from opsman_fixture import CF, MYSQL, REDIS
from running import Running, ssh
from selftest_bbr import Bbr, clean
from selftest_bosh import Bosh, tarball
from selftest_opsstates import STATE, until_up, wait_install

SMALL = {"fixture": "ops", "tas": {"services": 2, "windows": False, "blobs": 100, "rows": 100}}
EMPTY = {"opsman": {"state": "fresh"}, "postgres": {"rows": 0}}
BLOBS = "/var/vcap/store/shared"
ROWS = "select md5(string_agg(t::text, ',' order by id)) from {} t"


class Second:
    """A fresh Ops Manager that took in another's installation."""

    def __init__(self, origin, work, **more):
        client = OpsClient(origin.ready)
        assert client.login() == 200
        exported = client.call("GET", "/api/v0/installation_asset_collection")[2]
        self.work, self.running = work, Running({**EMPTY, **more})
        self.ops = OpsClient(self.running.ready)
        assert self.running.ask("iaas")["disks"] == {} and "director" not in self.running.ready
        assert self.ops.import_zip(exported, origin.ready["opsman"]["decryption_passphrase"])[0] == 200
        until_up(self.ops)
        assert self.ops.login("admin", client.about["password"]) == 200

    def remove_state(self):
        vm = self.running.ready["opsman"]["ssh"]
        assert ssh(vm["address"], vm["username"], vm["private_key_file"], f"sudo rm {STATE}")[0] == 0

    def apply(self, products, expected="succeeded", **more):
        number = self.ops.install(deploy_products=products, ignore_warnings="true", **more)
        found = wait_install(self.ops, number)
        log = self.ops.get(f"/installations/{number}/logs")["logs"]
        assert found == expected, log
        if self.running.ask("describe").get("director"):
            self.running.ready = self.running.ask("describe")
            self.running.ready["ca_file"] = self.running.ready["director"]["ca_file"]
        return log

    def scale(self, product, job, count):
        path = f"/staged/products/{product}/jobs"
        guid = next(one["guid"] for one in self.ops.get(path)["jobs"] if one["name"] == job)
        config = self.ops.get(f"{path}/{guid}/resource_config")
        assert self.ops.status("PUT", f"{path}/{guid}/resource_config", {**config, "instances": count}) == 200


def rows_of(running):
    """What a restore must bring back of the director's database: all but what runs and the machines' own."""
    found = running.ask("director-db")["rows"]
    return {name: found[name] for name in ("uuid", "deployments", "instances", "releases", "stemcells", "configs")}


def tas_of(running):
    return [running.ask("sql", query=ROWS.format(table))["text"] for table in ("apps", "blobs")], \
        running.ask("digest", instance="blobstore/blobstore-0", path=BLOBS)


def a_foundation_is_restored_in_an_empty_one(bbr_program, bosh_program, work):
    origin = Running(SMALL)
    place = Bbr(bbr_program, work, origin, "127.0.0.1")
    place.must(0, "backup", mode="director")
    director_artifact, rows = place.artifact(), rows_of(origin)
    blobs = origin.ask("digest", instance="bosh", path="/var/vcap/store/blobstore")
    instances = [name for name in origin.ready["director"]["deployments"] if name.startswith("service-instance_0")]
    tas, redis = Bbr(bbr_program, work, origin, CF), Bbr(bbr_program, work, origin, instances[0])
    tas.must(0, "backup")
    redis.must(0, "backup")
    tas_artifact, redis_artifact = tas.artifact(), redis.artifact()
    before = tas_of(origin)
    dump = origin.ask("digest", instance=f"{instances[0]}/redis/redis-0", path="/var/vcap/store/redis")
    second = Second(origin, work)
    origin.end()  # lost
    second.apply("none", "failed")  # bosh-state.json names a VM that is not there
    second.remove_state()
    second.apply("none")
    running = second.running
    state = running.ask("opsman-state")["bosh_state"]
    assert state["current_vm_cid"] in running.ask("iaas")["vms"], state
    bosh = Bosh(bosh_program, work, running)
    assert bosh.rows("deployments") == [] and bosh.rows("stemcells") == [] and bosh.rows("releases") == []
    assert "doesn't exist" in second.apply([CF], "failed")
    place = Bbr(bbr_program, work, running, "127.0.0.1")
    place.must(0, "restore", "--artifact-path", director_artifact, mode="director")
    assert rows_of(running) == rows and running.ask(
        "digest", instance="bosh", path="/var/vcap/store/blobstore") == blobs
    names = [row["name"] for row in bosh.rows("deployments")]
    assert CF in names and set(instances) <= set(names), names
    references_are_cleared(bosh, running, names)
    stemcell = f"{work}/stemcell.tgz"
    with open(stemcell, "wb") as file:
        file.write(tarball("bosh-test-ubuntu-jammy-go_agent", "1.500"))
    assert "not found" in second.apply([CF], "failed")  # the row was restored, the image was not
    bosh.run("upload-stemcell", stemcell)
    assert "not found" in second.apply([CF], "failed")
    bosh.run("upload-stemcell", "--fix", stemcell)
    second.apply([CF])
    tas = Bbr(bbr_program, work, running, CF)
    assert tas.deployment("restore", "--artifact-path", tas_artifact) != 0 and "3 nodes" in tas.output + tas.errors
    tas.must(0, "restore-cleanup")
    second.scale(CF, "mysql", 1)
    second.apply([CF])
    assert [row["instance"] for row in bosh.rows("-d", CF, "vms") if "mysql" in row["instance"]] == ["mysql/mysql-0"]
    assert running.ask("sql", query="select count(*) from apps")["text"] == "0"
    tas.must(0, "restore", "--artifact-path", tas_artifact)
    assert tas_of(running) == before
    second.scale(CF, "mysql", 3)
    second.apply([CF])
    assert len([row for row in bosh.rows("-d", CF, "vms") if "mysql" in row["instance"]]) == 3
    assert tas_of(running) == before
    service_instances_come_back(bosh, second, instances)
    Bbr(bbr_program, work, running, instances[0]).must(0, "restore", "--artifact-path", redis_artifact)
    assert running.ask("digest", instance=f"{instances[0]}/redis/redis-0", path="/var/vcap/store/redis") == dump
    assert running.ask("iaas")["destroyed"] == []
    status = second.ops.status("DELETE", "/installation_asset_collection", {"errands": {}})
    assert status == 200
    for _ in range(3000):
        if second.ops.get("/installations")["installations"][0]["status"] != "running":
            break
    left = running.ask("iaas")
    assert (left["vms"], left["disks"]) == ({}, {}), left


def references_are_cleared(bosh, running, names):
    """Every VM and disk is missing; then no disk is known any more, and no VM."""
    for name in names:
        expected = {"missing_vm": [], "missing_disk": []}
        for row in running.ask("director-db", table="instances")["rows"]:
            if row["deployment"] == name:
                expected["missing_vm"].append(f"{row['job']}/{row['uuid']}")
                expected["missing_disk"] += [disk["disk_cid"] for disk in row["disks"]]
        found = bosh.rows("-d", name, "cck", "--report", status=1)
        for kind, each in expected.items():
            texts = [row["description"] for row in found if row["type"] == kind]
            assert len(texts) == len(each) and all(any(one in text for text in texts) for one in each), (name, found)
        assert len(found) == sum(map(len, expected.values())), found
        bosh.run("-d", name, "cck", "--resolution", "delete_disk_reference", "--resolution", "delete_vm_reference")
        again = bosh.rows("-d", name, "cck", "--report", status=1)
        assert {row["type"] for row in again} == {"missing_vm"} and not any(
            "cloud ID" in row["description"] for row in again), again
        assert bosh.rows("-d", name, "vms") == []


def service_instances_come_back(bosh, second, instances):
    assert bosh.rows("-d", instances[0], "vms") == []
    second.apply([REDIS, MYSQL])
    errands = {row["name"] for row in bosh.rows("-d", REDIS, "errands")}
    assert {"recreate-all-service-instances", "upgrade-all-service-instances"} <= errands, errands
    bosh.run("-d", REDIS, "run-errand", "upgrade-all-service-instances")
    assert bosh.rows("-d", instances[0], "vms") == [], "what is current is skipped"
    bosh.run("-d", REDIS, "run-errand", "recreate-all-service-instances")
    assert [len(bosh.rows("-d", name, "vms")) for name in instances] == [1, 1]
    other = "service-instance_99999999-1111-4222-8333-444444444444"
    assert bosh.rows("-d", other, "vms") == [], "another broker's"
    bosh.run("-d", MYSQL, "run-errand", "recreate-all-service-instances")
    assert len(bosh.rows("-d", other, "vms")) == 1


def a_shared_iaas_is_seen(bbr_program, bosh_program, work):
    """The guard of a restore: production's machines are seen, or even answer."""
    origin = Running(SMALL)
    place = Bbr(bbr_program, work, origin, "127.0.0.1")
    place.must(0, "backup", mode="director")
    clean(origin)
    second = Second(origin, work, iaas={"shared": origin.ready["control"]})
    second.remove_state()
    second.apply("none")
    running = second.running
    Bbr(bbr_program, work, running, "127.0.0.1").must(0, "restore", "--artifact-path", place.artifact(),
                                                      mode="director")
    bosh = Bosh(bosh_program, work, running)
    kinds = {row["type"] for row in bosh.rows("-d", CF, "cck", "--report", status=1)}
    assert kinds == {"unresponsive_agent"}, kinds
    running.ask("iaas-share", socket=origin.ready["control"], agents=True)
    assert bosh.rows("-d", CF, "cck", "--report") == [], "production's agents answer: all is well, says the scan"
    running.ask("iaas-share", cannot_tell=True)
    kinds = {row["type"] for row in bosh.rows("-d", CF, "cck", "--report", status=1)}
    assert kinds == {"unresponsive_agent"}, kinds
    # What the documented resolution does to a shared IaaS, and what a deploy with fix would do.
    running.ask("iaas-share", socket=origin.ready["control"])
    vms = len(origin.ask("iaas")["vms"])
    bosh.run("-d", CF, "cck", "--resolution", "delete_disk_reference", "--resolution", "delete_vm_reference")
    assert len(origin.ask("iaas")["vms"]) == vms and running.ask("iaas")["destroyed"] == []
    manifest = json.loads(bosh.run("-d", REDIS, "manifest", "--json"))["Blocks"][0]
    with open(f"{work}/redis.yml", "w") as file:
        file.write(manifest)
    bosh.run("-d", REDIS, "deploy", "--fix", f"{work}/redis.yml")
    assert len(origin.ask("iaas")["vms"]) == vms - 1 and [
        one["kind"] for one in running.ask("iaas")["destroyed"]] == ["vm"]
    # With bosh-state.json left where it is, production's director is replaced.
    second = Second(origin, work, iaas={"shared": origin.ready["control"]})
    mine = second.running.ask("opsman-state")["bosh_state"]["current_vm_cid"]
    assert mine in origin.ask("iaas")["vms"]
    second.apply("none")
    assert mine not in origin.ask("iaas")["vms"] and second.running.ask("iaas")["destroyed"] == [
        {"kind": "vm", "cid": mine}]


def the_backup_holds_what_ran_then(bbr_program, bosh_program, work):
    """Tasks and locks of the time of the backup come back with the database."""
    origin = Running({**SMALL, "director": {"checkpoint_seconds": 3}})
    director = origin.ready["director"]
    origin.ask("task-plan", match="scan cloud", hold="scan", times=1)
    from selftest_parts import call

    token = bearer(origin)
    assert call(origin.ready, f"/deployments/{CF}/scans", "POST", {}, headers=token)[0] == 302
    origin.ask("director-lock", name=f"lock:deployment:{CF}", task_id="101", seconds=3)
    place = Bbr(bbr_program, work, origin, "127.0.0.1")
    place.must(0, "backup", mode="director")
    origin.ask("release-tasks", hold="scan")
    bosh = Bosh(bosh_program, work, origin)
    for _ in range(100):
        if bosh.rows("tasks") == []:
            break
    place.must(0, "restore", "--artifact-path", place.artifact(), mode="director")
    assert director["deployments"] == [row["name"] for row in bosh.rows("deployments")]
    tasks = json.loads(call(origin.ready, "/tasks?verbose=2", headers=bearer(origin))[2])
    assert [(one["id"], one["description"]) for one in tasks] == [(101, "scan cloud")], tasks
    assert tasks[0]["state"] in ("processing", "timeout"), tasks
    assert [row["task_id"] for row in bosh.rows("locks")] == ["101"]
    assert len(bosh.rows("-d", CF, "vms")) > 5, "it is the same foundation, its agents answer"


def bearer(running):
    import base64
    import urllib.request

    from selftest_parts import ssl

    director = running.ready["director"]
    pair = base64.b64encode(f"{director['client']}:{director['client_secret']}".encode()).decode()
    request = urllib.request.Request(f"{director['uaa']}/oauth/token", b"grant_type=client_credentials",
                                     {"Authorization": f"Basic {pair}"})
    context = ssl.create_default_context(cafile=running.ready["ca_file"])
    with urllib.request.urlopen(request, context=context) as answer:
        return {"Authorization": f"bearer {json.loads(answer.read())['access_token']}"}


CHECKS = [a_foundation_is_restored_in_an_empty_one, a_shared_iaas_is_seen, the_backup_holds_what_ran_then]
