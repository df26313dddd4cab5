"""Checks of the foundation's parts that need no bbr."""

import base64
import glob
import http.client
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from running import Running, ssh
from s3client import S3Client


def call(ready, path, method="GET", body=None, headers=None, auth=True, url=None):
    """One director request without following redirects; returns (status, headers, text)."""
    director = ready["director"]
    request = urllib.request.Request((url or director["url"]) + path, method=method,
                                     data=None if body is None else json.dumps(body).encode())
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    if auth and "Authorization" not in (headers or {}):
        pair = f"{director['client']}:{director['client_secret']}".encode()
        request.add_header("Authorization", "Basic " + base64.b64encode(pair).decode())

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_arguments):
            return None

    context = ssl.create_default_context(cafile=ready["ca_file"])
    opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=context))
    try:
        answer = opener.open(request, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, dict(answer.headers), answer.read().decode(errors="replace")


def setup_user(ready, work, group="g", user="bosh_0123456789abcde"):
    key = f"{work}/{user}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with open(key + ".pub") as file:
        body = {"command": "setup", "deployment_name": "dep", "target": {"job": group, "ids": [], "indexes": []},
                "params": {"user": user, "public_key": file.read()}}
    return key, result(ready, call(ready, "/deployments/dep/ssh", "POST", body))


def result(ready, answer):
    status, headers, _text = answer
    assert status == 302, answer
    place = headers["Location"].split("/tasks/")[1]
    for _ in range(100):
        task = json.loads(call(ready, f"/tasks/{place}")[2])
        if task["state"] not in ("queued", "processing"):
            assert task["state"] == "done", task
            return json.loads(call(ready, f"/tasks/{place}/output?type=result")[2])
        time.sleep(0.05)
    raise AssertionError("the task does not end")


def gone(marker):
    """No process whose command line or environment of the mount table names the directory."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                if marker.encode() in file.read():
                    return False
        except OSError:
            continue
    with open("/proc/mounts") as file:
        return marker not in file.read()


def nothing_survives_however_it_ends(work):
    for end in ("stdin", "term", "kill"):
        place = f"{work}/{end}"
        running = Running({"fixture": "S1", "stores": ["one"], "postgres": True}, place)
        port = running.instance("dep/g/u0")["port"]
        if end == "stdin":
            running.process.stdin.close()
        else:
            running.process.send_signal(signal.SIGTERM if end == "term" else signal.SIGKILL)
        status = running.process.wait(10)
        assert status == (0 if end != "kill" else -9), (end, status)
        deadline = time.monotonic() + 15
        while not gone(place) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert gone(place), end
        listening = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True)
        assert listening.stdout == "", listening.stdout


def users_are_real_and_only_on_their_instance(work):
    with open("/etc/passwd") as file:
        before = file.read()
    running = Running({"fixture": "S2"})
    ready = running.ready
    key, found = setup_user(ready, work, "g1")
    host = found[0]
    assert host["status"] == "success" and host["id"] == "u1" and host["job"] == "g1", host
    status, out, err = ssh(host["ip"], "bosh_0123456789abcde", key, "sudo FOO=bar sh -c 'id -un; echo $FOO; hostname'")
    assert (status, out.split()) == (0, [b"root", b"bar", b"g1-u1"]), (status, out, err)
    assert running.ask("users", instance="g2/u2")["users"] == []
    call(ready, "/deployments/dep/ssh", "POST", {
        "command": "cleanup", "deployment_name": "dep", "target": {"job": "g1", "ids": ["u1"], "indexes": ["u1"]},
        "params": {"user_regex": "^bosh_0123456789abcde"}})
    for _ in range(100):
        if running.ask("leaks")["leaks"] == {}:
            break
        time.sleep(0.05)
    assert ssh(host["ip"], "bosh_0123456789abcde", key, "true")[0] == 255
    with open("/etc/passwd") as file:
        assert file.read() == before


def the_directors_answers_have_the_real_shape(work):
    running = Running({"fixture": "S1"})
    ready = running.ready
    assert call(ready, "/info", auth=False)[0] == 200
    status, headers, text = call(ready, "/deployments", auth=False)
    assert status == 401 and "WWW-Authenticate" in headers and "Not authorized" in text
    assert json.loads(call(ready, "/deployments/x")[2]) == {
        "code": 70000, "description": "Deployment 'x' doesn't exist"}
    assert call(ready, "/tasks/7")[0] == 404
    running.ask("task-plan", match="vm-stats", queued=1, processing=1, outcome="error", message="Boom", code=1234)
    place = call(ready, "/deployments/dep/vms?format=full")[1]["Location"].split("25555")[-1].split("/tasks/")[1]
    states = [json.loads(call(ready, f"/tasks/{place}")[2])["state"] for _ in range(3)]
    assert states == ["queued", "processing", "error"], states
    assert json.loads(call(ready, f"/tasks/{place}")[2])["result"] == "Boom"
    event = call(ready, f"/tasks/{place}/output?type=event", headers={"Range": "bytes=0-"})
    assert event[0] == 206 and json.loads(event[2])["error"] == {"code": 1234, "message": "Boom"}
    size = len(event[2])
    assert call(ready, f"/tasks/{place}/output?type=event", headers={"Range": f"bytes={size}-"})[0] == 416
    running.ask("clear-task-plans")
    answer = call(ready, "/deployments/dep/vms?format=full")
    line = result(ready, answer)
    assert line["job_name"] == "g" and line["id"] == "u0" and line["bootstrap"] and "vm_created_at" not in line
    assert line["ips"] == [f"127.0.0.1:{ready['instances']['dep/g/u0']['port']}"]


def http_faults_do_what_they_say(work):
    running = Running({"fixture": "S1", "director": {"auth": "uaa", "token_uses": 1}})
    ready = running.ready
    token = call(ready, "/oauth/token?grant_type=x", "POST", url=ready["director"]["uaa"])
    assert token[0] == 400, token
    for fault, seen in (({"action": "status", "status": 503}, 503), ({"action": "close"}, None),
                        ({"action": "cut"}, None), ({"action": "garbage"}, 200)):
        running.ask("fault", service="director", path="^/info", times=1, **fault)
        try:
            found = call(ready, "/info")[0]
        except (OSError, http.client.HTTPException):
            found = None
        assert found == seen, (fault, found)
        running.ask("clear-faults", service="director")
    assert call(ready, "/info")[0] == 200
    for kind in ("wrong-host", "foreign", "expired"):
        running.ask("certificate", service="director", kind=kind)
        try:
            call(ready, "/info")
            raise AssertionError(f"a {kind} certificate was taken")
        except urllib.error.URLError as error:
            assert "certificate" in str(error)


def command_faults_do_what_they_say(work):
    running = Running({"fixture": "X1"})
    host = running.ready["hosts"]["bosh"]

    def run(command, **more):
        return ssh(host["address"], host["username"], host["private_key_file"], command, **more)

    def fault(kind, **more):
        running.ask("clear-command-faults", instance="bosh")
        return running.ask("command-fault", instance="bosh", kind=kind, **more)["id"]

    assert run("cat", stdin=b"through")[:2] == (0, b"through")
    assert run("kill -9 $$")[0] in (137, 255)
    fault("status", pattern="^echo", status=7, stdout="a", stderr="b", skip=1, times=1)
    assert [run("echo x")[0] for _ in range(3)] == [0, 7, 0]
    number = fault("cut", pattern="echo")
    assert run("echo x")[:2] == (255, b"")
    assert running.ask("command-fault-hits", instance="bosh")["hits"] == {number: 1}
    fault("truncate", pattern="seq", bytes=4)
    assert run("seq 1000")[:2] == (0, b"1\n2\n")
    fault("truncate", pattern="seq", bytes=4, end="cut")
    assert run("seq 1000")[:2] == (255, b"1\n2\n")
    fault("flip", pattern="printf", bytes=1)
    assert run("printf abc")[:2] == (0, b"acc")
    fault("run_then_cut", pattern="touch")
    assert run("touch /tmp/ran; echo out")[:2] == (255, b"out\n")
    assert running.ask("run", instance="bosh", script="ls /tmp/ran")["status"] == 0
    fault("cut_after", pattern="sleep", seconds=0.3)
    began = time.monotonic()
    assert run("sleep 20")[0] == 255 and time.monotonic() - began < 5
    fault("delay", pattern="echo", seconds=0.3)
    began = time.monotonic()
    assert run("echo x")[0] == 0 and time.monotonic() - began > 0.3
    running.ask("clear-command-faults", instance="bosh")
    running.ask("sshd", instance="bosh", action="pause")
    try:
        run("echo x", timeout=1)
        raise AssertionError("a paused sshd answered")
    except subprocess.TimeoutExpired:
        pass
    running.ask("sshd", instance="bosh", action="resume")
    assert run("echo x")[0] == 0
    for stop, start in ((("sshd", {"action": "kill"}), ("sshd", {"action": "start"})),
                        (("power", {"on": False}), ("power", {"on": True}))):
        running.ask(stop[0], instance="bosh", **stop[1])
        assert run("echo x")[0] == 255
        running.ask(start[0], instance="bosh", **start[1])
        assert run("echo x")[0] == 0
    old = running.ready["instances"]["bosh"]["host_public_key"]
    assert running.ask("rotate-host-key", instance="bosh", kind="ecdsa")["host_public_key"] != old
    commands = running.ask("commands", instance="bosh", match="^touch")["commands"]
    assert len(commands) == 1 and commands[0]["user"] == "bob", commands


def scripts_that_are_killed_have_no_end_line(work):
    running = Running({"fixture": "X1"})
    host = running.ready["hosts"]["bosh"]
    running.ask("set-script", instance="bosh", job="bosh", script="backup",
                value='note working; if [ "$1" = kill ]; then kill -KILL $$; fi; exit 4')
    script = "sudo /var/vcap/jobs/bosh/bin/bbr/backup"
    for argument, status in (("", 4), (" kill", 137)):
        found = ssh(host["address"], host["username"], host["private_key_file"], script + argument)[0]
        assert found in (status, 255 if argument else status), found
    events = [(line["event"], line.get("status"), line.get("text")) for line in running.ask("journal")["lines"]]
    assert events == [("start", None, None), ("note", None, "working"), ("end", 4, None), ("start", None, None),
                      ("note", None, "working")], events


def stores_are_faithful_and_their_faults_work(work):
    running = Running({"stores": [{"name": "one", "users": [{"access_key_id": "READER", "role": "reader"}]},
                                  {"name": "two", "tls": True, "object_lock": True}]})
    for name, store in running.ready["stores"].items():
        client = S3Client(store["endpoint"], store["access_key_id"], store["secret_access_key"],
                          ca_file=running.ready["ca_file"])
        assert client.request("PUT", "/lifeboat/a/1", body=b"x")[0] == 200
        if name == "one":  # a bucket with Object Lock keeps versions, the condition is the same
            assert client.request("PUT", "/lifeboat/a/1", body=b"y", headers={"If-None-Match": "*"})[0] == 412
        for number in range(5):
            client.request("PUT", f"/lifeboat/list/{number}", body=b"1")
        page = client.request("GET", "/lifeboat", {"list-type": 2, "prefix": "list/", "start-after": "list/1",
                                                   "max-keys": 2})[2]
        assert b"<Key>list/2</Key>" in page and b"<Key>list/3</Key>" in page and b"<IsTruncated>true" in page, page
        assert b"list/1</Key>" not in page and b"list/4" not in page
        client.secret = "wrong"
        assert b"SignatureDoesNotMatch" in client.request("GET", "/lifeboat")[2]
        client.secret, client.skew = store["secret_access_key"], 3600
        assert b"RequestTimeTooSkewed" in client.request("GET", "/lifeboat")[2]
        client.skew = 0
        assert b"NoSuchBucket" in client.request("GET", "/other")[2]
        running.ask("fault", service=name, action="status", status=503, method="PUT", path="/b", times=2)
        assert [client.request("PUT", "/lifeboat/b")[0] for _ in range(3)] == [503, 503, 200]
        running.ask("store", store=name, mode="refuse")
        try:
            client.request("GET", "/lifeboat")
            raise AssertionError("a refusing store answered")
        except OSError:
            pass
        running.ask("store", store=name, mode="pass")
        assert client.request("GET", "/lifeboat/a/1")[2] == b"x"
        assert running.ask("requests", service=name, method="PUT", path="/b$")["requests"][0]["status"] == 503
    store = running.ready["stores"]["one"]
    reader = S3Client(store["endpoint"], "READER", store["users"][0]["secret_access_key"])
    assert [reader.request(method, "/lifeboat/a/1")[0] for method in ("GET", "PUT", "DELETE")] == [200, 403, 403]


def many_foundations_run_side_by_side(work):
    several = [Running({"deployments": [{"name": "dep", "groups": [{"name": "g", "instances": 6}]}]}) for _ in range(3)]
    assert len({one.instance("dep/g/g-0")["port"] for one in several}) == 3
    for one in several:
        assert one.ask("ping")["ok"]
        one.ask("run", instance="g/g-5", script="echo here > /var/vcap/store/mark; useradd -p '*' somebody")
    assert not os.path.exists("/var/vcap/store/mark")
    for one in several:
        with open(one.instance("dep/g/g-5")["root"] + "/var/vcap/store/mark") as file:
            assert file.read() == "here\n"


def wrong_specs_are_refused_by_name(work):
    for spec, word in (({"deploments": []}, "deploments"), ({"fixture": "S9"}, "S9"),
                       ({"deployments": [{"name": "d", "groups": [{"name": "g", "jbos": {}}]}]}, "jbos")):
        try:
            Running(spec)
            raise AssertionError(f"{spec} was taken")
        except RuntimeError as error:
            assert word in str(error), error


CHECKS = [
    wrong_specs_are_refused_by_name, nothing_survives_however_it_ends, users_are_real_and_only_on_their_instance,
    the_directors_answers_have_the_real_shape, http_faults_do_what_they_say, command_faults_do_what_they_say,
    scripts_that_are_killed_have_no_end_line, stores_are_faithful_and_their_faults_work,
    many_foundations_run_side_by_side,
]
