"""What an Ops Manager knows: products, settings, credentials, users. It is what an export holds and an import brings.

`Model.data` is plain JSON. It holds no blob and no row of any deployment: those are what BBR saves. `Vm` is the Ops
Manager VM's own disk, where bosh-state.json lies.
"""

import copy
import hashlib
import json
import os
import secrets
import subprocess
import tempfile
import time

from instance import FoundationError

WORKSPACE = "/var/tempest/workspaces/default"
STATE = f"{WORKSPACE}/deployments/bosh-state.json"
OPS_CLIENT, BBR_CLIENT = "ops_manager", "bbr_client"
STEMCELL = {"os": "ubuntu-jammy", "version": "1.500"}


class Vm:
    """The workspace on the Ops Manager VM. Only root reads it there: over SSH it takes sudo."""

    def __init__(self, foundation):
        self.foundation = foundation

    @property
    def root(self):
        return self.foundation.instances["opsman"].root

    def prepare(self):
        os.makedirs(f"{self.root}{WORKSPACE}/deployments", exist_ok=True)
        os.chmod(f"{self.root}/var/tempest", 0o700)

    def write(self, path, text):
        with open(f"{self.root}{path}", "w") as file:
            file.write(text)
        os.chmod(f"{self.root}{path}", 0o640)

    def read(self, path):
        try:
            with open(f"{self.root}{path}") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def bosh_state(self):
        """None when the file is not there."""
        text = self.read(STATE)
        return None if text is None else json.loads(text or "{}")

    def write_bosh_state(self, state):
        self.write(STATE, json.dumps(state, indent=1) + "\n")


class Model:
    def __init__(self, data, passphrase):
        self.data, self.passphrase = data, passphrase

    def fits(self, passphrase):
        return isinstance(passphrase, str) and passphrase == self.passphrase

    # -- where a model comes from -----------------------------------------------------------------------

    @classmethod
    def empty(cls, spec, setup):
        """What `POST /api/v0/setup` makes: nothing but its users."""
        users, clients = [], []
        if setup.get("identity_provider") == "internal":
            users = [{"username": setup.get("admin_user_name"), "password": setup.get("admin_password"),
                      "role": "admin"}]
        if setup.get("precreated_client_secret"):
            clients = [{"client_id": "precreated-client", "client_secret": setup["precreated_client_secret"],
                        "role": "admin"}]
        data = {"version": spec.get("version", "3.0.24-build.1"), "identity_provider": setup["identity_provider"],
                "users": users, "clients": clients, "director": None, "products": [], "cas": [], "certificates": [],
                "stemcells": [], "infrastructure_locked": False, "deployments": {}}
        return cls(data, setup["decryption_passphrase"])

    @classmethod
    def from_spec(cls, spec, foundation):
        data = {
            "version": spec.get("version", "3.0.24-build.1"),
            "identity_provider": spec.get("identity_provider", "internal"),
            "users": [{"role": "admin", **user} for user in spec.get("users", [
                {"username": "admin", "password": "ops-password"}])],
            "clients": [{"role": "admin", **client} for client in spec.get("clients", [
                {"client_id": "precreated-client", "client_secret": "ops-secret"}])],
            "infrastructure_locked": True,
            "iaas_type": spec.get("iaas_type", "vsphere"),
            "stemcells": spec.get("stemcells", [dict(STEMCELL)]),
            "cas": authorities(spec, foundation),
        }
        data["director"] = director(spec.get("director", {}), foundation)
        data["products"] = [product(given, foundation) for given in spec.get("products", [])]
        guids = {one["type"]: one["guid"] for one in data["products"]} | {"p-bosh": data["director"]["guid"]}
        data["certificates"] = [certificate(given, guids) for given in spec.get("certificates", [
            {"valid_until": day(700), "property_reference": ".properties.networking_poe_ssl_certs", "product": "cf"},
            {"valid_until": day(1000), "property_reference": ".director.nats", "product": "p-bosh"}])]
        data["deployments"] = {deployment["name"]: without_data(deployment)  # service instances are not Ops Manager's
                               for deployment in foundation.spec["deployments"] if deployment["name"] in guids.values()}
        return cls(data, spec.get("passphrase", "decryption-passphrase"))

    # -- asking it ------------------------------------------------------------------------------------------

    def products(self):
        """The director first, as the real one lists it."""
        found = [self.data["director"]] if self.data["director"] else []
        return found + self.data["products"]

    def product(self, guid):
        return next((one for one in self.products() if one["guid"] == guid), None)

    def workspace(self, vm):
        """What `create_director` and `deploy` of the foundation are given; see README.md."""
        data = copy.deepcopy(self.data)
        counts = {one["guid"]: {name: instances(job) for name, job in one["jobs"].items()}
                  for one in data["products"]}
        return {"director": data["director"], "products": data["products"], "deployments": data["deployments"],
                "resource_config": counts, "authority": data["cas"][0] if data["cas"] else None,
                "bosh_state": vm.bosh_state(), "directory": vm.root + WORKSPACE}


def instances(job):
    found = job["resource_config"]["instances"]
    return job["default_instances"] if found == "automatic" else found


def guid(kind, seed=None):
    """Repeatable with a seed, so that fixtures can name deployments."""
    return f"{kind}-{hashlib.sha256((seed or secrets.token_hex()).encode()).hexdigest()[:20]}"


def day(days):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * 86400))


def director(given, foundation):
    host = given.get("host", "bosh")
    login = next((one for one in foundation.spec["hosts"] if one["name"] == host), None)
    if login is None:
        raise FoundationError(f"opsman.director.host is {host}, which is not one of hosts")
    with open(foundation.keys[host]) as file:
        private = file.read()
    with open(foundation.keys[host] + ".pub") as file:
        public = file.read()
    clients = dict(foundation.uaa.clients) if foundation.uaa else {}
    uaa = foundation.spec.get("director") or {}
    simple = {name: {"type": "simple_credentials", "value": {"identity": identity, "password": password}}
              for name, identity, password in (
                  ("uaa_bbr_client_credentials", BBR_CLIENT, clients.get(BBR_CLIENT, "")),
                  ("director_credentials", "director", uaa.get("password", "director-password")),
                  ("uaa_admin_user_credentials", "admin", "uaa-admin-password"),
                  ("uaa_login_client_credentials", "login", "uaa-login-password"),
                  ("vm_credentials", "vcap", "vm-password"), ("agent_credentials", "vcap", "agent-password"),
                  ("nats_credentials", "nats", "nats-password"), ("postgres_credentials", "postgres", "pg-password"),
                  ("blobstore_credentials", "blobstore", "blobstore-password"),
                  ("health_monitor_credentials", "health_monitor", "hm-password"))}
    if BBR_CLIENT not in clients:  # as with Ops Managers before 2.3
        del simple["uaa_bbr_client_credentials"]
    credentials = {**simple, "bbr_ssh_credentials": {
        "type": "rsa_pkey_credentials", "value": {"private_key_pem": private, "public_key_pem": public}},
        **given.get("credentials", {})}
    return {
        "type": "p-bosh", "guid": given.get("guid") or guid("p-bosh", "p-bosh"), "version": given.get(
            "version", "3.0.24-build.1"), "label": "BOSH Director", "stemcell": dict(STEMCELL), "errands": [],
        "host": host, "spec": without_data(login), "uaa": copy.deepcopy(uaa), "clients": clients,
        "credentials": credentials, "jobs": {name: resource("p-bosh", name, count) for name, count in (
            ("director", 1), ("compilation", 4))}, "max_in_flight": {}, "action": "unchanged", "properties": {}, "changed": [],
        "verifiers": [],
        "director_properties": {"director_configuration": {
            "ntp_servers_string": "pool.ntp.example.com", "resurrector_enabled": True, "max_threads": None,
            "database_type": "internal", "blobstore_type": "local", "director_hostname": None,
            "bosh_recreate_on_next_deploy": False, "bosh_director_recreate_on_next_deploy": False,
            **given.get("configuration", {})}, "security_configuration": {"generate_vm_passwords": True},
            "syslog_configuration": {"enabled": False}, **given.get("properties", {})},
        "networks": given.get("networks", {"icmp_checks_enabled": False, "networks": [
            {"guid": "0d0c5b3b2f9f0a4e6d11", "name": "deployment", "subnets": [
                {"guid": "5f6a1b9c3e2d4f7a8b90", "iaas_identifier": "pg-deployment", "cidr": "10.0.0.0/22",
                 "dns": "10.0.0.2", "gateway": "10.0.0.1", "reserved_ip_ranges": "10.0.0.1-10.0.0.9",
                 "availability_zone_names": ["z1"]}]}]}),
        "availability_zones": {"availability_zones": [
            {"guid": "a1b2c3d4e5f6a7b8c9d0", "name": "z1", "iaas_configuration_guid": "1aa5c0f1a1b2c3d4e5f6",
             "clusters": [{"guid": "c1a2b3c4d5e6f7a8b9c0", "cluster": "cluster-1", "resource_pool": "production"}]}]},
        "iaas_configurations": {"iaas_configurations": [
            {"guid": "1aa5c0f1a1b2c3d4e5f6", "name": "default", "vcenter_host": "vcenter.example.com",
             "datacenter": "dc-1", "bosh_vm_folder": "vms", **given.get("iaas", {})}]},
        "network_and_az": {"network_and_az": {"network": {"name": "deployment", "guid": "0d0c5b3b2f9f0a4e6d11"},
                                              "singleton_availability_zone": {"name": "z1"}}}}


def product(given, foundation):
    """`guid` is the name of the deployment; jobs are the deployment's groups unless given otherwise."""
    name = given.get("guid") or guid(given["type"])
    deployment = next((one for one in foundation.spec["deployments"] if one["name"] == name), None)
    jobs = {group["name"]: len(group["instances"]) for group in deployment["groups"]} if deployment else {}
    jobs.update(given.get("jobs", {}))
    return {
        "type": given["type"], "guid": name, "version": given.get("version", "1.0.0"),
        "label": given.get("label", given["type"]), "stemcell": given.get("stemcell", dict(STEMCELL)),
        "errands": given.get("errands", []), "team_client": given.get("team_client"),
        "credentials": given.get("credentials", {}), "changed": given.get("pending", []), "verifiers": [],
        "service_broker": given.get("service_broker", bool(given.get("team_client"))),
        "stale": given.get("stale"), "max_in_flight": given.get("max_in_flight", {}),
        "action": given.get("action", "unchanged"),
        "properties": {key: as_property(value) for key, value in given.get("properties", {}).items()},
        "jobs": {job: resource(name, job, count) for job, count in jobs.items()}}


def as_property(value):
    if isinstance(value, dict) and "type" in value:
        return {"configurable": True, "credential": False, "optional": False, **value}
    kind = {bool: "boolean", int: "integer", dict: "collection", list: "collection"}.get(type(value), "string")
    return {"type": kind, "configurable": True, "credential": False, "value": value, "optional": False}


def resource(product_guid, job, given):
    if not isinstance(given, dict):
        given = {"instances": given}
    count = given.get("instances", 1)
    return {"guid": guid(job, product_guid + job), "default_instances": given.get("default_instances", 1),
            "resource_config": {"instances": count, "instance_type": {"id": "automatic"},
                                "persistent_disk": {"size_mb": given.get("disk", "automatic")},
                                "internet_connected": False, "elb_names": [], "additional_vm_extensions": []}}


def certificate(given, guids):
    return {"issuer": "/CN=Lifeboat test foundation", "valid_from": day(-30), "configurable": False,
            "property_type": "rsa_cert_credentials", "location": "ops_manager", "variable_path": None,
            "rotation_procedure_name": "Configurable Leaf Certificate Rotation",
            "rotation_procedure_url": "https://docs.example.com/rotate", "property_reference": ".properties.cert",
            **{key: value for key, value in given.items() if key != "product"},
            "product_guid": guids.get(given.get("product"))}


def authorities(spec, foundation):
    """The first of the list signs the director's certificate. `rotation` adds a second that is active already."""
    directory = foundation.authority.directory
    found = [authority(f"{directory}/ca", "Lifeboat test foundation", not spec.get("rotation"))]
    if spec.get("rotation"):
        with tempfile.TemporaryDirectory() as work:
            make_authority(f"{work}/new", "Lifeboat test foundation, new")
            found.append(authority(f"{work}/new", "Lifeboat test foundation, new", True))
    return found


def make_authority(path, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{path}.key", "-out",
                    f"{path}.pem", "-days", "30", "-subj", f"/CN={name}", "-addext",
                    "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
                   check=True, stdin=subprocess.DEVNULL, capture_output=True)


def authority(path, name, active):
    with open(f"{path}.pem") as certificate_file, open(f"{path}.key") as key_file:
        pem, key = certificate_file.read(), key_file.read()
    return {"guid": hashlib.sha256(pem.encode()).hexdigest()[:20], "issuer": f"/CN={name}", "created_on": day(-1),
            "expires_on": day(29), "active": active, "cert_pem": pem, "nats_cert_pem": pem, "key_pem": key}


def without_data(described):
    """A deployment or host without what lies on its persistent disks: no export holds that."""
    described = copy.deepcopy(described)
    holders = [described] + [member for group in described.get("groups", []) for member in group["instances"]]
    for holder in holders:
        holder["files"] = {path: content for path, content in holder.get("files", {}).items()
                           if not path.startswith("/var/vcap/store")}
    return described

