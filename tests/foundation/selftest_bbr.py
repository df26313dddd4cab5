"""Checks that drive the foundation with the real bbr. Where the two disagree, the foundation is wrong."""

import glob
import os
import re
import signal
import subprocess
import time
import tarfile

from running import Running

BIT_GENERIC, BIT_LOCK, BIT_UNLOCK, BIT_CLEANUP = 1, 4, 8, 16


class Bbr:
    second = 0

    def __init__(self, program, work, running, deployment="dep"):
        self.program, self.work, self.running, self.name = program, work, running, deployment

    def deployment(self, *arguments, env=None, every=False):
        director = self.running.ready["director"]
        which = ["--all-deployments"] if every else ["--deployment", self.name]
        return self._run("deployment", "--target", director["url"], "--username", director["client"], "--password",
                         director["client_secret"], "--ca-cert", self.running.ready["ca_file"], *which, *arguments,
                         env=env)

    def director(self, *arguments, env=None):
        host = self.running.ready["hosts"]["bosh"]
        return self._run("director", "--host", host["address"], "--username", host["username"],
                         "--private-key-path", host["private_key_file"], *arguments, env=env)

    def _run(self, *arguments, env):
        while int(time.time()) == self.second:  # bbr names its directory by the second
            time.sleep(0.05)
        done = subprocess.run([self.program, *arguments], cwd=self.work, capture_output=True, text=True, check=False,
                              timeout=180, env={**os.environ, **(env or {})})
        self.second = int(time.time())
        self.output, self.errors = done.stdout, done.stderr
        return done.returncode

    def must(self, status, *arguments, mode="deployment", **more):
        found = getattr(self, mode)(*arguments, **more)
        assert found == status, f"{arguments}: exit {found}, not {status}\n{self.output}\n{self.errors}"

    def artifact(self, name=None):
        found = sorted(glob.glob(f"{self.work}/{name or self.name}_*"))
        found = [path for path in found if os.path.isdir(path)]
        assert found, f"no artifact directory in {os.listdir(self.work)}"
        return found[-1]


def clean(running):
    # The last cleanup is not awaited by bbr.
    for _ in range(50):
        leaks = running.ask("leaks")["leaks"]
        if not leaks:
            return
        tasks = running.ask("tasks")["tasks"]
        if all(task["finished"] for task in tasks):
            break
    assert running.ask("leaks")["leaks"] == {}, leaks


def s1(program, work, **more):
    running = Running({"fixture": "S1", **more})
    return running, Bbr(program, work, running)


def a_backup_of_s1_is_complete_and_clean(program, work):
    running, bbr = s1(program, work)
    bbr.must(0, "pre-backup-check")
    assert "can be backed up" in bbr.output and running.journal() == []
    bbr.must(0, "backup", "--with-manifest")
    with tarfile.open(f"{bbr.artifact()}/g-0-j.tar") as tar:
        assert sorted(tar.getnames()) == [".", "./a", "./b"] and tar.extractfile("./a").read() == b"A"
    assert open(f"{bbr.artifact()}/manifest.yml").read().startswith("---\nname: dep\n")
    lines = running.ask("journal")["lines"]
    assert lines[0]["env"]["BBR_ARTIFACT_DIRECTORY"] == "/var/vcap/store/bbr-backup/j/" == \
        lines[0]["env"]["ARTIFACT_DIRECTORY"]
    clean(running)
    calls = [(entry["method"], entry["path"]) for entry in running.ask("requests", service="director")["requests"]]
    assert calls[:7] == [("GET", "/info"), ("GET", "/deployments/dep/vms?format=full"), ("GET", "/tasks/101"),
                         ("GET", "/tasks/101"), ("GET", "/tasks/101/output?type=event"),
                         ("GET", "/tasks/101/output?type=result"), ("GET", "/deployments/dep")], calls[:7]


def uaa_tokens_that_wear_out_are_renewed(program, work):
    running, bbr = s1(program, work, director={"auth": "uaa", "token_uses": 2})
    bbr.must(0, "backup")
    refused = [entry for entry in running.ask("requests", service="director")["requests"] if entry["status"] == 401]
    assert refused, "no token wore out"
    assert all(entry["authorized"] for entry in running.ask("requests", service="uaa")["requests"])
    clean(running)


def tasks_and_faults_of_the_director_are_lived_through(program, work):
    running, bbr = s1(program, work)
    running.ask("task-plan", queued=1, processing=1, match="vm-stats", times=1)
    running.ask("fault", service="director", action="status", status=503, method="GET", path="^/deployments/dep$", times=2)
    running.ask("fault", service="director", action="close", path="/ssh", times=1)
    running.ask("fault", service="director", action="redirect", path="/vms", times=1)
    bbr.must(0, "pre-backup-check")
    running.ask("clear-faults", service="director")
    for outcome in ("error", "cancelled", "timeout"):
        running.ask("task-plan", match="vm-stats", outcome=outcome, times=1)
        bbr.must(1, "pre-backup-check")
        assert f"state is '{outcome}'" in bbr.errors, bbr.errors
    running.ask("fault", service="director", action="status", status=500, method="POST", path="/ssh", skip=1)
    bbr.must(BIT_CLEANUP, "pre-backup-check")
    assert running.ask("leaks")["leaks"]["dep/g/u0"]["users"], "nothing was left although cleanup was refused"
    running.ask("clear-faults", service="director")
    running.ask("certificate", service="director", kind="foreign")
    bbr.must(1, "pre-backup-check")
    assert "certificate" in bbr.errors
    running.ask("certificate", service="director")
    bbr.name = "nope"
    bbr.must(1, "pre-backup-check")
    assert "70000" in bbr.errors and "doesn't exist" in bbr.errors, bbr.errors


def failing_scripts_give_bbrs_exit_bits(program, work):
    running, bbr = s1(program, work)

    def script(name, **value):
        running.ask("set-script", instance="g/u0", job="j", script=name, value=value)

    script("pre-backup-lock", exit=1, stderr="no lock")
    script("post-backup-unlock")
    bbr.must(BIT_LOCK, "backup")
    assert ("g/u0", "j", "backup", "start") not in running.journal()
    script("post-backup-unlock", exit=1)
    bbr.must(BIT_LOCK | BIT_UNLOCK, "backup")
    script("pre-backup-lock")
    script("backup", exit=3, stderr="baz")
    bbr.must(BIT_GENERIC | BIT_UNLOCK, "backup")
    assert "baz" in bbr.errors and "code 3" in bbr.errors, bbr.errors
    script("backup", body="mount --bind /dev/null /usr/bin/shasum")
    script("post-backup-unlock")
    bbr.must(BIT_GENERIC, "backup")
    last = running.ask("journal")["lines"][-1]
    assert last["script"] == "post-backup-unlock" and last["env"]["BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL"] == "true"
    clean(running)


def leftovers_block_and_cleanup_removes_them(program, work):
    running, bbr = s1(program, work)
    running.ask("run", instance="g/u0", script="mkdir /var/vcap/store/bbr-backup")
    bbr.must(1, "backup")
    assert "g/u0" in bbr.errors and "bbr-backup" in bbr.errors
    assert running.ask("artifacts", instance="g/u0")["exists"]
    bbr.must(0, "backup-cleanup")
    clean(running)


def restore_of_r1_puts_the_data_back(program, work):
    running = Running({"fixture": "R1"})
    bbr = Bbr(program, work, running)
    bbr.must(0, "restore", "--artifact-path", running.ready["artifact"])
    assert running.ask("read-file", instance="g/u0", path="/var/vcap/store/j/f")["text"] == "F"
    clean(running)


def locks_of_two_jobs_keep_their_order(program, work):
    running = Running({"fixture": "S2"})
    bbr = Bbr(program, work, running)
    for job, instance in (("j1", "g1/u1"), ("j2", "g2/u2")):
        for script in ("pre-backup-lock", "post-backup-unlock"):
            running.ask("set-script", instance=instance, job=job, script=script, value={"sleep": 0.1})
    running.ask("set-script", instance="g2/u2", job="j2", script="metadata", value={"yaml": {
        "backup_should_be_locked_before": [{"job_name": "j1", "release": "r"}]}})
    bbr.must(0, "backup")
    order = [(job, script, event) for _instance, job, script, event in running.journal() if "lock" in script]
    assert order == [(job, script, event) for script, jobs in (("pre-backup-lock", ("j2", "j1")),
                                                               ("post-backup-unlock", ("j1", "j2")))
                     for job in jobs for event in ("start", "end")], order


def manifests_of_both_shapes_name_the_release(program, work):
    for version in (1, 2):
        property_ = {"bbr": {"backup_one_restore_all": True}}
        running = Running({"deployments": [{"name": "dep", "manifest_version": version, "groups": [
            {"name": "g", "instances": 2, "properties": property_, "jobs": {
                "j": {"release": "r", "properties": property_, "scripts": {
                    "backup": '[ "$(cat /var/lib/foundation/bootstrap)" = true ] && echo x > "$BBR_ARTIFACT_DIRECTORY"f '
                              "|| true"}}}}]}]})
        bbr = Bbr(program, work, running)
        bbr.must(0, "backup")
        names = sorted(os.listdir(bbr.artifact()))
        assert names == ["g-1-j.tar", "j-r-backup-one-restore-all.tar", "metadata"], names
        subprocess.run(["rm", "-rf", bbr.artifact()], check=True)


def windows_and_other_key_types_are_seen(program, work):
    running = Running({"deployments": [{"name": "dep", "groups": [
        {"name": "w", "instances": [{"windows": True}, {"host_key": "rsa"}, {"host_key": "ecdsa"}],
         "jobs": {"j": {"release": "r", "scripts": {"backup": {"files": {"f": "x"}}}}}}]}]})
    bbr = Bbr(program, work, running)
    bbr.must(0, "backup")
    assert sorted(os.listdir(bbr.artifact())) == ["metadata", "w-1-j.tar", "w-2-j.tar"]
    assert "w/w-0" in bbr.output and "indows" in bbr.output
    running.ask("set-vm", instance="w/w-1", ssh={"host_public_key": running.instance("dep/w/w-2")["host_public_key"]})
    bbr.must(1, "pre-backup-check")


def connections_break_where_they_are_told_to(program, work):
    running, bbr = s1(program, work)
    running.ask("command-fault", instance="g/u0", kind="run_then_cut", pattern="bin/bbr/backup$", times=1)
    bbr.must(1, "backup")
    running.ask("command-fault", instance="g/u0", kind="flip", bytes=1024, pattern="tar -C", times=1)
    bbr.must(1, "backup")
    assert "hecksum" in bbr.errors, bbr.errors
    running.ask("command-fault", instance="g/u0", kind="status", status=1, stderr="sudo: no", pattern="find ", times=1)
    bbr.must(1, "backup")
    bbr.must(0, "backup")
    running.ask("sshd", instance="g/u0", action="stop")
    bbr.must(1, "backup")
    running.ask("sshd", instance="g/u0", action="start")
    bbr.must(0, "backup-cleanup")


def a_killed_bbr_leaves_what_it_leaves(program, work):
    running, bbr = s1(program, work)
    running.ask("set-script", instance="g/u0", job="j", script="backup", value={"sleep": 30})
    director = running.ready["director"]
    process = subprocess.Popen([program, "deployment", "--target", director["url"], "--username", "admin", "--password",
                                "admin", "--ca-cert", running.ready["ca_file"], "--deployment", "dep", "backup"],
                               cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running.ask("wait-journal", match={"script": "backup", "event": "start"})
    process.send_signal(signal.SIGKILL)
    process.wait()
    leaks = running.ask("leaks")["leaks"]["dep/g/u0"]
    assert leaks["artifacts"] and len(leaks["users"]) == 1, leaks
    bbr.must(0, "backup-cleanup")
    assert not running.ask("artifacts", instance="g/u0")["exists"]


def tas_is_backed_up_and_restored(program, work):
    running = Running({"fixture": "tas", "tas": {"auth": "uaa", "unlock_seconds": 0.3, "blobs": 800}, "socks": True})
    bbr = Bbr(program, work, running, "cf")
    bbr.must(0, "backup")

    def state():
        return (running.ask("digest", instance="blobstore/blobstore-0", path="/var/vcap/store/shared"),
                running.ask("sql", query="select md5(string_agg(t::text, ',' order by id)) from apps t"))

    before = state()
    order = [job for _instance, job, script, event in running.journal(script="pre-backup-lock", event="start")]
    assert order == ["blobstore", "cloud_controller_ng", "cloud_controller_ng", "uaa", "credhub", "credhub"], order
    running.ask("churn", instance="blobstore/blobstore-0", path="/var/vcap/store/shared", share=0.1)
    running.ask("sql", query="delete from apps where id < 50")
    assert state() != before
    bbr.must(0, "restore", "--artifact-path", bbr.artifact())
    assert state() == before
    for number in (0, 1):
        keys = running.ask("read-file", instance=f"credhub/credhub-{number}", path="/var/vcap/store/credhub-config/keys")
        assert keys["text"] == "encryption keys\n"
    # bbr leaves its users on hosts behind the first one without scripts, and only there.
    assert sorted(running.ask("leaks")["leaks"]) == ["cf/diego_cell/diego_cell-1", "cf/diego_cell/diego_cell-2"]
    bbr.must(0, "pre-backup-check", every=True)


def the_director_is_backed_up_and_restored(program, work):
    running = Running({"fixture": "tas", "postgres": None, "deployments": [], "director": None})
    bbr = Bbr(program, work, running, "127.0.0.1")
    digest = running.ask("digest", instance="bosh", path="/var/vcap/store")
    bbr.must(0, "pre-backup-check", mode="director")
    bbr.must(0, "backup", mode="director")
    assert sorted(os.listdir(bbr.artifact())) == ["bosh-0-bosh.tar", "bosh-0-credhub.tar", "bosh-0-uaa.tar", "metadata"]
    locks = [job for _instance, job, script, _event in running.journal(script="pre-backup-lock", event="start")]
    assert locks == ["bosh", "credhub", "uaa"], locks
    running.ask("run", instance="bosh", script="rm -rf /var/vcap/store/*/*")
    bbr.must(0, "restore", "--artifact-path", bbr.artifact(), mode="director")
    assert running.ask("digest", instance="bosh", path="/var/vcap/store") == digest
    bbr.must(0, "backup-cleanup", mode="director")
    bbr.must(0, "restore-cleanup", mode="director")


def proxies_carry_everything(program, work):
    running, bbr = s1(program, work, jumpbox=True, socks=True,
                      hosts=[{"name": "bosh", "login": "bbr", "jobs": {"b": {"scripts": {"backup": "true"}}}}])
    through = {"BOSH_ALL_PROXY": running.ready["jumpbox"]["all_proxy"]}
    bbr.must(0, "backup", env=through)
    bbr.must(0, "pre-backup-check", mode="director", env=through)
    log = running.ask("sshd-log", instance="jumpbox")["text"]
    assert re.search("Accepted publickey for jumpbox", log), log[-500:]
    bbr.must(0, "pre-backup-check", env={"BOSH_ALL_PROXY": running.ready["socks"]["url"]})
    targets = {entry["path"] for entry in running.ask("requests", service="socks")["requests"]}
    assert f"127.0.0.1:{running.instance('dep/g/u0')['port']}" in targets, targets
    running.ask("sshd", instance="jumpbox", action="stop")
    bbr.must(1, "pre-backup-check", env=through)


CHECKS = [
    a_backup_of_s1_is_complete_and_clean, uaa_tokens_that_wear_out_are_renewed,
    tasks_and_faults_of_the_director_are_lived_through, failing_scripts_give_bbrs_exit_bits,
    leftovers_block_and_cleanup_removes_them, restore_of_r1_puts_the_data_back, locks_of_two_jobs_keep_their_order,
    manifests_of_both_shapes_name_the_release, windows_and_other_key_types_are_seen,
    connections_break_where_they_are_told_to, a_killed_bbr_leaves_what_it_leaves, tas_is_backed_up_and_restored,
    the_director_is_backed_up_and_restored, proxies_carry_everything,
]
