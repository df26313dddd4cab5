"""Deployment manifests, as text: the shape with instance groups (2) and the older one with jobs (1)."""

import json
import re


def manifest_text(deployment):
    if "manifest" in deployment:
        return deployment["manifest"]
    return "---\n" + yaml(manifest_value(deployment))


def manifest_value(deployment):
    version = deployment.get("manifest_version", 2)
    releases = sorted({job["release"] for group in deployment["groups"] for job in group["jobs"].values()
                       if job and job.get("release")})
    value = {"name": deployment["name"],
             "releases": [{"name": name, "version": "1.0.0"} for name in releases],
             "stemcells": [{"alias": "default", "os": "ubuntu-jammy", "version": "1.500"}]}
    value["instance_groups" if version == 2 else "jobs"] = [
        _group(group) if version == 2 else _old_group(group) for group in deployment["groups"]]
    if deployment.get("variables"):
        value["variables"] = [{"name": name, "type": "password"} for name in deployment["variables"]]
    value["update"] = {"canaries": 1, "max_in_flight": 1, "canary_watch_time": "1000-90000",
                       "update_watch_time": "1000-90000"}
    return value


def listed(group):
    """Jobs that the manifest names: not those of an add-on, which only exist on the instances."""
    return [(name, job) for name, job in group["jobs"].items() if job is not None and not job.get("addon")]


def _group(group):
    return {"name": group["name"], "instances": len(group["instances"]), "azs": ["z1"],
            "jobs": [{"name": name, "release": job.get("release", "r"), "properties": job.get("properties", {})}
                     for name, job in listed(group)],
            "vm_type": "default", "stemcell": "default", "networks": [{"name": "default"}],
            **{key: group[key] for key in ("persistent_disk", "lifecycle") if key in group}}


def _old_group(group):
    return {"name": group["name"], "instances": len(group["instances"]),
            "templates": [{"name": name, "release": job.get("release", "r")} for name, job in listed(group)],
            "resource_pool": "default", "networks": [{"name": "default"}],
            "properties": group.get("properties", {})}


def yaml(value, indent=0):
    """Block style, enough for manifests and for metadata scripts."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines.append(f"{pad}{_scalar(key)}:\n{yaml(item, indent + (not isinstance(item, list)))}")
            else:
                lines.append(f"{pad}{_scalar(key)}: {_scalar(item)}\n")
        return "".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            if isinstance(item, (dict, list)) and item:
                text = yaml(item, indent + 1)
                lines.append(f"{pad}- {text[len(pad) + 2:]}")
            else:
                lines.append(f"{pad}- {_scalar(item)}\n")
        return "".join(lines)
    return f"{pad}{_scalar(value)}\n"


def _scalar(value):
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_/][A-Za-z0-9_./@+-]*", value)
        word = value.lower() in ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none")
        return value if plain and not word else json.dumps(value)
    return json.dumps(value)
