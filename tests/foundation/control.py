"""The control socket: one JSON object a line in, one JSON object a line out.

Every verb is a method of Verbs; what it does is done by the parts of the foundation. README.md lists them.
"""

import json
import os
import re
import shlex
import socket
import socketserver
import threading
import time

import jobs
import tree
from instance import FoundationError
from capi_control import CapiVerbs
from opsman_control import OpsVerbs


class Control:
    """`{"do": verb, ...}` -> `{"ok": true, ...}` or `{"ok": false, "error": text}`."""

    def __init__(self, path, foundation, owner=None):
        if len(os.fsencode(path)) > 107:
            raise FoundationError(f"the path of the control socket is too long for a socket: {path}")
        verbs = Verbs(foundation)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(json.dumps(verbs.perform(line)).encode() + b"\n")

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass

        self.server = Server(path, Handler)
        os.chmod(path, 0o600)
        if owner is not None:
            os.chown(path, owner, -1)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def ask(path, request):
    """The client side, for the self test and the command line."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline())
    if not answer.get("ok"):
        raise FoundationError(answer.get("error", "no answer"))
    return answer


class Verbs(CapiVerbs, OpsVerbs):
    def __init__(self, foundation):
        self.foundation = foundation

    def perform(self, line):
        try:
            request = json.loads(line)
            verb = request.pop("do")
            method = getattr(self, "do_" + verb.replace("-", "_"), None)
            if method is None:
                raise FoundationError(f"unknown verb {verb}")
            return {"ok": True, **(method(**request) or {})}
        except Exception as error:  # noqa: BLE001 - the caller is told
            text = str(error) if isinstance(error, FoundationError) else f"{type(error).__name__}: {error}"
            return {"ok": False, "error": text}

    def _instance(self, name):
        return self.foundation.instance(name)

    def _service(self, name):
        return self.foundation.service(name)

    def do_ping(self):
        return None

    # -- journal and records ------------------------------------------------------------------------

    def _journal(self, since=0):
        with open(self.foundation.journal) as file:
            file.seek(since)
            text = file.read()
        text = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in text.splitlines()], since + len(text.encode())

    def do_journal(self, since=0):
        lines, end = self._journal(since)
        return {"lines": lines, "next": end}

    def do_wait_journal(self, match, count=1, since=0, seconds=30):
        """Until `count` lines have every key of `match` (texts are whole-match regexes)."""
        end = time.monotonic() + seconds
        while True:
            found = [line for line in self._journal(since)[0] if _matches(line, match)]
            if len(found) >= count:
                return {"lines": found}
            if time.monotonic() > end:
                raise FoundationError(f"no {count} journal lines like {match} within {seconds} s")
            time.sleep(0.01)

    def do_commands(self, instance, match=""):
        return {"commands": [entry for entry in self._instance(instance).commands()
                             if re.search(match, entry["command"])]}

    def do_wait_command(self, instance, match, count=1, seconds=30):
        end = time.monotonic() + seconds
        while True:
            found = self.do_commands(instance, match)
            if len(found["commands"]) >= count:
                return found
            if time.monotonic() > end:
                raise FoundationError(f"no {count} commands like {match} within {seconds} s")
            time.sleep(0.01)

    def do_requests(self, service, method=".*", path=""):
        found = self._service(service).requests
        return {"requests": [entry for entry in list(found) if re.fullmatch(method, entry["method"])
                             and re.search(path, entry["path"])]}

    def do_wait_request(self, service, method=".*", path="", count=1, seconds=30):
        target = self._service(service)
        with target.changed:
            if not target.changed.wait_for(
                    lambda: len(self.do_requests(service, method, path)["requests"]) >= count, seconds):
                raise FoundationError(f"no {count} requests {method} {path} at {service} within {seconds} s")
        return self.do_requests(service, method, path)

    def do_clear_requests(self, service):
        self._service(service).requests.clear()

    def do_sshd_log(self, instance):
        with open(f"{self._instance(instance).root}/var/log/sshd.log", errors="replace") as file:
            return {"text": file.read()}

    # -- faults ------------------------------------------------------------------------------------------

    def do_fault(self, service, **fault):
        return {"id": self._service(service).faults.add(fault)}

    def do_fault_hits(self, service):
        return {"hits": self._service(service).faults.hits()}

    def do_clear_faults(self, service, id=None):
        self._service(service).faults.clear(id)

    def do_command_fault(self, instance, **fault):
        return {"id": self._instance(instance).add_fault(fault)}

    def do_command_fault_hits(self, instance):
        return {"hits": self._instance(instance).fault_hits()}

    def do_clear_command_faults(self, instance, id=None):
        self._instance(instance).clear_faults(id)

    def do_certificate(self, service, kind="good"):
        target = self._service(service)
        target.authority.context(kind)
        target.certificate = kind

    def do_tokens(self, expire=False, seconds=None, uses=None, service="uaa"):
        uaa = self._service(service)
        if seconds is not None:
            uaa.token_seconds = seconds
        if uses is not None:
            uaa.token_uses = uses if uses >= 0 else None
        return {"expired": uaa.expire_tokens() if expire else 0}

    def do_task_plan(self, **plan):
        self._service("director").tasks.plan(plan)

    def do_tasks(self):
        found = self._service("director").tasks.all.values()
        return {"tasks": [{"id": task.number, "description": task.description, "outcome": task.outcome,
                           "finished": task.finished.is_set(), "message": task.summary} for task in list(found)]}

    def do_clear_task_plans(self):
        self._service("director").tasks.clear_plans()

    def do_director(self, username=None, password=None):
        director = self._service("director")
        director.username, director.password = username or director.username, password or director.password

    def do_set_manifest(self, deployment, text):
        director = self.foundation.director
        with director.db.change() as rows:
            rows["deployments"][deployment]["manifest"] = text

    def do_set_vm(self, instance, vm=None, vm_without=None, ssh=None, ssh_without=None, unresponsive_agent=None):
        """Change what the director says of an instance; only what is given."""
        for key, value in (("vm", vm), ("vm_without", vm_without), ("ssh", ssh), ("ssh_without", ssh_without),
                           ("unresponsive_agent", unresponsive_agent)):
            if value is not None:
                self._instance(instance).spec[key] = value

    def do_release_tasks(self, hold):
        return {"count": self._service("director").tasks.release(hold)}

    # -- IaaS and database ----------------------------------------------------------------------------------

    def do_iaas(self):
        return self.foundation.iaas.describe()

    def do_iaas_has(self, kind, cid):
        """What a foundation that shares this IaaS asks."""
        return {"found": getattr(self.foundation.iaas, f"has_{kind}")(cid, own=True)}

    def do_iaas_agent(self, agent_id):
        answer = self.foundation.iaas.agent(agent_id, own=True)
        return {"found": answer is not None, "disks": answer["disks"] if answer else []}

    def do_iaas_delete(self, kind, cid):
        """Behind the director's back: the VM is gone with its machine, or the disk."""
        iaas = self.foundation.iaas
        if not getattr(iaas, f"has_{kind}")(cid, own=True):
            return {"found": False}
        getattr(iaas, f"delete_{kind}")(cid)
        if cid == self.foundation.director_vm_cid:
            self.foundation.director.end()
        return {"found": True}

    def do_iaas_share(self, socket=None, agents=False, cannot_tell=False):
        self.foundation.iaas.share(socket, agents)
        self.foundation.iaas.cannot_tell = cannot_tell

    def do_director_db(self, table=None):
        db = self._service("director").db
        db.refresh()
        return {"rows": db.rows[table] if table else db.rows}

    def do_iaas_detach(self, vm, disk):
        self.foundation.iaas.detach_disk(vm, disk)

    def do_director_lock(self, name, task_id, seconds):
        """A lock row as of a task that holds it, ending in so many seconds."""
        with self._service("director").db.change() as rows:
            rows["locks"][name] = {"task_id": str(task_id), "expired_at": time.time() + seconds}

    def do_director_disk(self, disk, active):
        """What the database says of a persistent disk."""
        db = self._service("director").db
        with db.change() as rows:
            found = [one for row in rows["instances"] for one in row["disks"] if one["disk_cid"] == disk]
            found[0]["active"] = active

    def do_describe(self):
        """The ready line as things are now."""
        return self.foundation.describe()

    def do_vms(self, deployment):
        return {"vms": self._service("director").vms(deployment, with_vm=False)}

    # -- instances --------------------------------------------------------------------------------------

    def do_sshd(self, instance, action):
        return {"count": self._instance(instance).sshd(action)}

    def do_sshd_config(self, instance, **values):
        target = self._instance(instance)
        target.spec.setdefault("sshd", {}).update(values)
        target.configure_sshd()
        target.sshd("restart")

    def do_power(self, instance, on):
        self._instance(instance).power(on)

    def do_rotate_host_key(self, instance, kind=None):
        return {"host_public_key": self._instance(instance).rotate_host_key(kind)}

    def do_run(self, instance, script, seconds=60):
        """A bash script as root on the instance; no fault when it fails."""
        status, out, err = self._instance(instance).execute(["/bin/bash", "-c", script], timeout=seconds)
        return {"status": status, "stdout": out.decode(errors="replace"), "stderr": err.decode(errors="replace")}

    def do_users(self, instance, prefix="bosh_"):
        return {"users": self._instance(instance).user_names(prefix)}

    def do_leaks(self):
        """Everything a tool may have left behind: users and artifact directories, by instance."""
        found = {}
        for key, instance in list(self.foundation.instances.items()):
            left = {"users": [name for name in instance.user_names("bosh_") if name != instance.spec.get("login")],
                    "artifacts": instance.artifacts()["exists"]}
            beside = sorted(name for name in os.listdir(f"{instance.vcap}/store") if "bbr" in name)
            if left["users"] or left["artifacts"] or beside:
                found[key] = {**left, "beside": beside}
        return {"leaks": found}

    def do_artifacts(self, instance):
        return self._instance(instance).artifacts()

    def do_put_file(self, instance, path, **content):
        target = self._instance(instance)
        jobs.write_file(target.inside(path), content)

    def do_churn(self, instance, path, share=0.01, seed="churn"):
        return tree.churn(self._instance(instance).inside(path), share, seed)

    def do_read_file(self, instance, path):
        status, out, err = self._instance(instance).execute(["/bin/cat", "--", path])
        if status != 0:
            raise FoundationError(err.decode(errors="replace").strip())
        return {"text": out.decode(errors="surrogateescape")}

    def do_set_script(self, instance, job, script, value):
        target = self._instance(instance)
        path = target.inside(f"/var/vcap/jobs/{job}/bin/bbr/{script}")
        if value is None:
            os.unlink(path)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        jobs.write_script(path, job, script, value)

    def do_set_job(self, instance, job, value):
        target = self._instance(instance)
        if value is None:
            jobs.remove_job(target.vcap, job)
        else:
            jobs.write_job(target.vcap, job, value)

    def do_digest(self, instance, path):
        """Two digests over all regular files below `path` (modes, sizes, names; contents) and their number."""
        text = self._instance(instance).shell(
            f"cd {shlex.quote(path)} && find . -type f -printf '%m %s %p\\0' | LC_ALL=C sort -z | sha256sum && "
            "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum -z | sha256sum && "
            "find . -type f -printf x | wc -c", timeout=300)
        names, contents, count = text.split("\n")[:3]
        return {"names": names[:64], "contents": contents[:64], "files": int(count)}

    # -- stores -----------------------------------------------------------------------------------------------

    def do_store(self, store, mode):
        """pass | refuse (no listener): the proxy in front of the store."""
        self.foundation.stores[store].proxy.set_mode(mode)

    def do_store_counts(self, store):
        return {"counts": self.foundation.stores[store].proxy.counts()}

    # -- databases ----------------------------------------------------------------------------------------------

    def do_sql(self, query, database=None):
        return {"text": self.foundation.postgres.sql(query, database)}


def _matches(line, wanted):
    for key, value in wanted.items():
        found = line.get(key)
        if isinstance(value, dict):
            if not isinstance(found, dict) or not _matches(found, value):
                return False
        elif isinstance(value, str):
            if not isinstance(found, str) or not re.fullmatch(value, found):
                return False
        elif found != value:
            return False
    return True
