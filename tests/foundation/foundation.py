#!/usr/bin/env python3
"""A BOSH foundation on loopback for tests: real sshd, sudo, users, PostgreSQL and S3; a simulated director.

  foundation.py serve --spec FILE|- [--dir DIR]   one JSON line when everything answers; ends with its stdin
  foundation.py ctl SOCKET '{"do": ...}'          one control request
  foundation.py spec NAME                         print a ready-made spec (S1, S2, X1, R1, tas, ops)

README.md beside this file says what the spec, the ready line and the control verbs are.
"""

import argparse
import fcntl
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import artifact  # noqa: E402
import control  # noqa: E402
import fixtures  # noqa: E402
import sandbox  # noqa: E402
import template  # noqa: E402
from capi import Capi  # noqa: E402
from certificates import Authority  # noqa: E402
from credhub import CredHub  # noqa: E402
from director import Director  # noqa: E402
from iaas import Iaas, keep_store  # noqa: E402
from instance import FoundationError, Instance  # noqa: E402
from opsman import OpsManager  # noqa: E402
from postgres import Postgres  # noqa: E402
from router import Router  # noqa: E402
from scratch import Scratch  # noqa: E402
from socks import Jumpbox, Socks  # noqa: E402
from spec import complete  # noqa: E402
from store import Store  # noqa: E402
from uaa import Uaa  # noqa: E402


class Foundation(Scratch):
    def __init__(self, spec, directory):
        self.spec, self.directory = spec, directory
        self.journal = f"{directory}/journal"
        self.instances, self.stores = {}, {}
        self.director = self.uaa = self.postgres = self.socks = self.jumpbox = self.opsman = None
        self.capi = self.credhub = self.router = None
        self.keys = {}
        self.iaas = Iaas(spec["iaas"], control.ask)
        self.iaas.make_machine = self.make_machine
        self.made = 0
        open(self.journal, "w").close()
        os.chmod(self.journal, 0o666)

    def start(self):
        """Everything that takes time starts at once."""
        began = time.monotonic()
        template.make_etc(f"{self.directory}/etc")
        self.make_instances()
        with ThreadPoolExecutor(max_workers=8) as pool:
            authority = pool.submit(Authority, f"{self.directory}/tls")
            waiting = [pool.submit(self.boot, instance) for instance in self.instances.values()]
            if self.spec.get("postgres"):
                self.postgres = Postgres(self.directory, self.spec["postgres"])
                waiting.append(pool.submit(self.postgres.start))
            self.authority = authority.result()
            for given in self.spec["stores"]:
                store = self.stores[given["name"]] = Store(given, self.directory, self.authority)
                waiting.append(pool.submit(store.start))
            for one in waiting:
                one.result()
        self.make_logins()
        self.register_hosts()
        if self.postgres:
            self.postgres.tell(self.instances.values())
        given = self.spec.get("director")
        if given is not None:
            if given.get("auth") == "uaa":
                self.uaa = Uaa(self.authority, given)
                self.uaa.host = self.director_host
            self.director = Director(self.authority, given, self.spec["deployments"], self.instances, self.uaa,
                                     self.iaas, self.director_host())
        if self.spec.get("opsman") is not None:
            self.opsman = OpsManager(self.authority, self.spec["opsman"], self)
            self.opsman.set_up()
        if self.spec.get("capi") is not None:
            self.capi = Capi(self.authority, self.spec["capi"], self)
        if self.spec.get("credhub"):
            self.credhub = CredHub(self.authority, self)
        if self.spec.get("socks"):
            self.socks = Socks()
        if self.spec.get("router"):
            self.router = Router(self)
        if self.spec.get("jumpbox"):
            self.jumpbox = Jumpbox(self.instances["jumpbox"], self.keys["jumpbox"])
        self.seconds = time.monotonic() - began

    def make_instances(self):
        place = f"{self.directory}/instances"
        for deployment in self.spec["deployments"]:
            for group in deployment["groups"]:
                for member in group["instances"]:
                    if not member.get("absent"):
                        name = f"{group['name']}/{member['id']}"
                        self.instances[member["key"]] = Instance(member["key"], name, member, place, self.journal)
        for host in self.spec["hosts"]:
            self.instances[host["name"]] = Instance(host["name"], f"{host['name']}/0", host, place, self.journal)
        if self.spec.get("opsman") is not None:
            spec = {"login": "ubuntu", "key_type": "rsa", **self.spec["opsman"]["host"]}
            self.instances["opsman"] = Instance("opsman", "opsman/0", spec, place, self.journal)
        if self.spec.get("jumpbox"):
            spec = {"login": "jumpbox", "sshd": {"forwarding": "yes"}, "key_type": "rsa",
                    **(self.spec["jumpbox"] if isinstance(self.spec["jumpbox"], dict) else {})}
            self.instances["jumpbox"] = Instance("jumpbox", "jumpbox/0", spec, place, self.journal)

    def director_host(self):
        """The machine that the director runs on, where the spec has one."""
        found = [host["name"] for host in self.spec["hosts"] if host.get("director")]
        return self.instances[found[0]] if found else None

    def make_machine(self, key, name, spec, store=None):
        """One more machine while the foundation runs; `store` is what its persistent disk holds."""
        self.made += 1
        instance = Instance(key, name, spec, f"{self.directory}/made/{self.made}", self.journal)
        instance.prepare(f"{self.directory}/etc")
        keep_store(store, instance)
        for attempt in range(3):
            try:
                instance.boot()
                break
            except FoundationError:
                if attempt == 2:
                    raise
        if self.postgres:
            self.postgres.tell([instance])
        self.instances[key] = instance
        return instance

    def boot(self, instance):
        instance.prepare(f"{self.directory}/etc")
        for attempt in range(3):
            try:
                instance.boot()
                return
            except FoundationError:
                if attempt == 2:
                    raise

    def make_logins(self):
        """Hosts reached without a director: a user with a key of its own and sudo."""
        for key, instance in self.instances.items():
            if instance.spec.get("login"):
                self.make_login(key, instance, instance.spec["login"])

    def make_login(self, key, instance, login, private=None):
        """`private`: the key, where it is known already."""
        path = f"{self.directory}/keys/{key}"
        os.makedirs(f"{self.directory}/keys", exist_ok=True)
        if private:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(private)
            with open(path + ".pub", "wb") as file:
                subprocess.run(["ssh-keygen", "-y", "-f", path], check=True, stdin=subprocess.DEVNULL, stdout=file)
        else:
            kind = instance.spec.get("key_type", "rsa")
            extra = ["-b", "2048", "-m", "PEM"] if kind == "rsa" else []
            subprocess.run(["ssh-keygen", "-q", "-t", kind, *extra, "-N", "", "-C", login, "-f", path], check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with open(path + ".pub") as file:
            instance.add_user(login, file.read(), sudo=key != "jumpbox", home_base="/home")
        give_to_caller(path)
        self.keys[key] = path

    # -- for the control socket -----------------------------------------------------------------------

    def instance(self, name):
        if name in self.instances:
            return self.instances[name]
        found = [one for one in self.instances.values() if one.name == name]
        if len(found) != 1:
            raise FoundationError(f"{'no' if not found else 'more than one'} instance {name}; "
                                  f"there are {', '.join(self.instances)}")
        return found[0]

    def service(self, name):
        found = {"director": self.director, "uaa": self.uaa, "opsman": self.opsman, "capi": self.capi,
                 "cf-uaa": self.capi and self.capi.uaa, "credhub": self.credhub, "router": self.router}.get(name)
        if found is None and name in self.stores:
            found = self.stores[name].proxy
        if found is None and name == "socks":
            found = self.socks
        if found is None:
            raise FoundationError(f"no service {name} in this foundation")
        return found

    def describe(self):
        about = {"ready": True, "seconds": round(self.seconds, 3), "dir": self.directory,
                 "control": f"{self.directory}/control", "journal": self.journal,
                 "ca_file": self.authority.ca_file, "ca_cert": self.authority.ca_text(),
                 "instances": {key: instance.describe() for key, instance in self.instances.items()}}
        if self.director:
            about["director"] = {"url": self.director.url, "host": "127.0.0.1", "port": self.director.port,
                                 "client": self.director.username, "client_secret": self.director.password,
                                 "deployments": sorted(self.director.deployments),
                                 "ca_file": self.director.authority.ca_file}
        if self.uaa:
            about["director"].update(client=self.uaa.client, client_secret=self.uaa.secret, uaa=self.uaa.url)
        about["hosts"] = {host["name"]: {"address": f"127.0.0.1:{self.instances[host['name']].port}",
                                         "username": host["login"], "private_key_file": self.keys[host["name"]],
                                         "host_public_key": self.instances[host["name"]].host_public_key}
                          for host in self.spec["hosts"]}
        if self.opsman:
            about["opsman"] = self.opsman.describe()
        if self.capi:
            about["capi"] = self.capi.describe()
        if self.credhub:
            about["credhub"] = {"url": self.credhub.url}
        about["stores"] = {name: store.describe() for name, store in self.stores.items()}
        if self.postgres:
            about["postgres"] = self.postgres.describe()
        if self.router:
            about["router"] = self.router.describe()
        if self.socks:
            about["socks"] = {"url": f"socks5://127.0.0.1:{self.socks.port}"}
        if self.jumpbox:
            about["jumpbox"] = self.jumpbox.describe()
        if self.spec.get("artifact"):
            about["artifact"] = artifact.write(self.directory, self.spec["artifact"])
        return about

    def end(self):
        for instance in list(self.instances.values()):
            instance.end()


def give_to_caller(path):
    """When sudo started us, the one who called it must be able to read what is his."""
    if "SUDO_UID" in os.environ:
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


def serve(spec, directory, output):
    foundation = Foundation(spec, directory)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        foundation.start()
        owner = int(os.environ["SUDO_UID"]) if "SUDO_UID" in os.environ else None
        control.Control(f"{directory}/control", foundation, owner)
        output.write(json.dumps(foundation.describe()) + "\n")
        output.flush()
    except (FoundationError, OSError, ValueError, subprocess.CalledProcessError) as error:
        if os.environ.get("FOUNDATION_TRACE"):
            traceback.print_exc()
        print(f"foundation: {error}", file=sys.stderr)
        output.write(json.dumps({"ready": False, "error": str(error)}) + "\n")
        output.flush()
        return 1
    threading.Thread(target=lambda: (wait_for_end_of_input(), ended.set()), daemon=True).start()
    while not ended.wait(0.1):  # a signal taken by another thread does not wake this one
        pass
    foundation.end()
    return 0


def wait_for_end_of_input():
    while os.read(0, 4096):
        pass


def temporary_directory():
    """A new one, held by a lock; those of foundations that were killed are removed first."""
    place = tempfile.gettempdir()
    for old in glob.glob(f"{place}/foundation-*/lock"):
        try:
            with open(old) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.path.getmtime(old) > 60:
                    shutil.rmtree(os.path.dirname(old), ignore_errors=True)
        except OSError:
            pass
    directory = tempfile.mkdtemp(prefix="foundation-", dir=place)
    handle = os.open(f"{directory}/lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)  # until the last process that inherited it ends
    return directory


def serve_in_namespaces(arguments):
    if os.geteuid() != 0:
        os.execvp("sudo", ["sudo", "-n", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    for program in ("sshd", "sudo", "useradd", "openssl", "ssh-keygen"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            print(f"foundation: {program} is missing; ci/setup installs it", file=sys.stderr)
            return 1
    if "SUDO_UID" in os.environ:
        sandbox.die_with_parent()
    try:
        if arguments.spec == "-":
            line = b""
            while not line.endswith(b"\n"):  # byte by byte: what follows is the sign to end
                piece = os.read(0, 1)
                if not piece:
                    break
                line += piece
            spec = complete(json.loads(line))
        else:
            with open(arguments.spec) as file:
                spec = complete(json.load(file))
    except (FoundationError, ValueError, OSError) as error:
        print(f"foundation: {error}", file=sys.stderr)
        print(json.dumps({"ready": False, "error": str(error)}), flush=True)
        return 1
    if arguments.dir:
        os.makedirs(arguments.dir, exist_ok=True)
    directory = arguments.dir or temporary_directory()
    os.chmod(directory, 0o755)
    directory = os.path.realpath(directory)
    os.umask(0o022)
    if spec.get("network"):
        sandbox.own_network()
    with open(f"{directory}/pid", "w") as file:
        file.write(str(os.getpid()))  # as seen from outside: whoever wants into our network
    sandbox.unshare(sandbox.CLONE_NEWNS | sandbox.CLONE_NEWPID)
    sandbox.private_mounts()

    def work():
        sandbox.mount("proc", "/proc", "proc", sandbox.MS_NOSUID | sandbox.MS_NODEV)
        return serve(spec, directory, sys.stdout)

    pid = sandbox.fork_init(work)
    signal.signal(signal.SIGTERM, lambda *_: sandbox.kill_quietly(pid, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _pid, status = os.waitpid(pid, 0)
    if not arguments.dir:
        shutil.rmtree(directory, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve")
    serving.add_argument("--spec", required=True)
    serving.add_argument("--dir")
    asking = commands.add_parser("ctl")
    asking.add_argument("socket")
    asking.add_argument("request")
    printing = commands.add_parser("spec")
    printing.add_argument("name")
    arguments = parser.parse_args()
    if arguments.command == "serve":
        return serve_in_namespaces(arguments)
    if arguments.command == "ctl":
        print(json.dumps(control.ask(arguments.socket, json.loads(arguments.request)), indent=1))
    else:
        print(json.dumps(fixtures.fixture(arguments.name, {}), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
