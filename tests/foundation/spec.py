"""The spec: JSON -> one complete, checked description. Unknown keys are refused by name.

`fixture` names a ready-made spec (fixtures.py) that the rest is merged over.
"""

import copy

import fixtures
from capi import SPEC as CAPI
from instance import FoundationError

TOP = {"fixture", "tas", "director", "deployments", "hosts", "stores", "postgres", "socks", "jumpbox", "artifact",
       "iaas", "opsman", "capi", "credhub", "network", "router"}
DEPLOYMENT = {"name", "manifest", "manifest_version", "groups", "teams", "variables"}
GROUP = {"name", "instances", "jobs", "properties", "persistent_disk", "lifecycle"}
INSTANCE = {"jobs", "files", "sshd", "host_key", "windows", "port"}
MEMBER = INSTANCE | {"id", "index", "bootstrap", "vm", "vm_without", "ssh", "ssh_without", "no_vm",
                     "unresponsive_agent", "absent"}
HOST = INSTANCE | {"name", "login", "key_type", "director", "private_key"}
JOB = {"release", "properties", "scripts", "files", "linked", "addon", "errand"}
DIRECTOR = {"auth", "username", "password", "client", "secret", "token_type", "token_seconds", "token_uses", "prefix",
            "uaa_url", "tasks", "port", "lock_seconds", "checkpoint_seconds", "resurrect_seconds",
            "empty", "clients", "teams"}
IAAS = {"shared", "agents", "cannot_tell"}
OPSMAN = {"version", "state", "users", "clients", "passphrase", "identity_provider", "info", "token_seconds",
          "token_uses", "parallel", "latency", "export", "startup", "locked_as", "wrong_passphrase", "import_seconds",
          "install_seconds", "products", "adjust", "director", "director_address", "director_api", "director_manifest", "certificates",
          "rotation", "iaas_type", "stemcells", "stemcell_present", "diagnostics", "verifiers", "host",
          "port"}
PRODUCT = {"type", "guid", "version", "label", "stemcell", "errands", "team_client", "credentials", "pending",
           "service_broker", "stale", "max_in_flight", "action", "properties", "jobs"}
OPS_DIRECTOR = {"host", "guid", "version", "credentials", "configuration", "properties", "networks", "iaas"}
STORE = {"name", "buckets", "tls", "region", "users", "object_lock"}


def complete(given):
    check(given, TOP, "spec")
    spec = given
    if "fixture" in given:
        base = fixtures.fixture(given["fixture"], given.get("tas", {}))
        spec = merge(base, {key: value for key, value in given.items() if key not in ("fixture", "tas")})
    spec = copy.deepcopy(spec)
    for deployment in spec.setdefault("deployments", []):
        check(deployment, DEPLOYMENT, "deployment")
        for group in deployment.setdefault("groups", []):
            complete_group(deployment["name"], group)
    for host in spec.setdefault("hosts", []):
        check(host, HOST, "host")
        host.setdefault("login", "bbr")
        check_jobs(host.setdefault("jobs", {}))
    if spec["deployments"]:
        spec.setdefault("director", {})
    if spec.get("director") is not None:
        check(spec["director"], DIRECTOR, "director")
    check(spec.setdefault("iaas", {}), IAAS, "iaas")
    if spec.get("opsman") is not None:
        complete_opsman(spec["opsman"])
    if spec.get("capi") is not None:
        spec["capi"] = {} if spec["capi"] is True else spec["capi"]
        check(spec["capi"], CAPI, "capi")
    spec["stores"] = [{"name": store} if isinstance(store, str) else store for store in spec.get("stores", [])]
    for store in spec["stores"]:
        check(store, STORE, "store")
    return spec


def complete_opsman(opsman):
    check(opsman, OPSMAN, "opsman")
    check(opsman.setdefault("host", {}), INSTANCE, "opsman.host")
    check(opsman.setdefault("director", {}), OPS_DIRECTOR, "opsman.director")
    adjust = opsman.get("adjust", {})
    opsman["products"] = [merge(product, adjust.get(product["type"], {})) for product in opsman.get("products", [])]
    unknown = set(adjust) - {product["type"] for product in opsman["products"]}
    if unknown:
        raise FoundationError(f"opsman.adjust names {sorted(unknown)[0]}, which is not one of its products")
    for product in opsman["products"]:
        check(product, PRODUCT, f"product {product.get('type')}")


def complete_group(deployment, group):
    check(group, GROUP, "group")
    check_jobs(group.setdefault("jobs", {}))
    members = group.setdefault("instances", 1)
    if isinstance(members, int):
        members = group["instances"] = [{} for _ in range(members)]
    for index, member in enumerate(members):
        check(member, MEMBER, "instance")
        member.setdefault("id", f"{group['name']}-{index}")
        member.setdefault("index", index)
        member.setdefault("bootstrap", index == 0)
        if group.get("lifecycle") == "errand":  # it has a VM only while it runs
            member["absent"] = True
        member["key"] = f"{deployment}/{group['name']}/{member['id']}"
        member["jobs"] = merge(group["jobs"], member.get("jobs", {}))
        check_jobs(member["jobs"])


def check_jobs(found):
    for name, job in found.items():
        if job is not None:
            check(job, JOB, f"job {name}")


def check(value, allowed, what):
    unknown = set(value) - allowed - {"key"}
    if unknown:
        raise FoundationError(f"unknown key {', '.join(sorted(unknown))} in {what}")


def merge(base, over):
    """Objects merge by key, lists and scalars are replaced."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return copy.deepcopy(over)
    merged = copy.deepcopy(base)
    for key, value in over.items():
        merged[key] = merge(merged[key], value) if key in merged else copy.deepcopy(value)
    return merged
