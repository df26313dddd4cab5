"""What the director keeps beside deployments: stemcells, releases, configs, orphaned disks and VMs.

Part of the director.
"""

import email.parser
import email.policy
import hashlib
import io
import json
import tarfile
import urllib.request

from database import stamp
from iaas import CloudError
from tasks import DirectorError
from web import Answer
from yaml_reader import parse


class Library:
    """Mixed into the director; uses its `db`, `blobs`, `iaas` and `locked`."""

    # -- stemcells -----------------------------------------------------------------------------------

    def list_stemcells(self):
        found = []
        for row in sorted(self.db["stemcells"], key=lambda one: one["name"]):
            used = [{"name": name} for name, one in sorted(self.db["deployments"].items())
                    if {"name": row["name"], "version": row["version"]} in one["stemcells"]]
            found.append({"name": row["name"], "operating_system": row["operating_system"], "version": row["version"],
                          "cid": row["cid"], "cpi": "", "deployments": used, "api_version": row["api_version"],
                          "id": row["id"]})
        return Answer.json(found)

    def stemcell_needed(self, request):
        wanted = json.loads(request.body).get("stemcell") or {}
        for name in ("name", "version"):
            if not wanted.get(name):
                raise Answer.json({"code": 40001, "description": f"Missing '{name}' field"}, 400)
        known = any((row["name"], row["version"]) == (wanted["name"], wanted["version"])
                    for row in self.db["stemcells"])
        return Answer.json({"needed": not known})

    def upload_stemcell(self, request):
        """The body is the tarball, a form with it, or JSON that says where it lies."""
        kind = (request.headers.get("Content-Type") or "").split(";")[0].strip()
        fix, sha1, body, location = request.query.get("fix") == "true", None, request.body, None
        if kind == "application/json":
            order = json.loads(body)
            location, sha1 = order.get("location"), order.get("sha1")
            if not location:
                raise Answer.json({"code": 40001, "description": "Missing 'location' field"}, 400)
        elif kind == "multipart/form-data":
            body = first_file(request.headers["Content-Type"], body)
        elif kind != "application/x-compressed":
            return Answer(404, "")
        return self.task(request, "create stemcell", None, lambda task: self.create_stemcell(
            task, body, location, sha1, fix), "update_stemcell")

    def create_stemcell(self, task, body, location, sha1, fix):
        stage = "Update stemcell"
        if location:
            task.stage(stage, "Downloading remote stemcell")
            try:
                with urllib.request.urlopen(location, timeout=60) as answer:  # noqa: S310 - a test's own address
                    body = answer.read()
            except (OSError, ValueError) as error:
                raise DirectorError(100, f"Downloading remote stemcell failed: {error}") from None
        if sha1 and hashlib.sha1(body).hexdigest() != sha1:  # noqa: S324 - the director's own check
            raise DirectorError(50007, f"Expected stream to have digest '{sha1}' but was "
                                f"'{hashlib.sha1(body).hexdigest()}'")
        task.stage(stage, "Extracting stemcell archive")
        try:
            with tarfile.open(fileobj=io.BytesIO(body)) as tar:
                members = {entry.name.removeprefix("./"): entry for entry in tar if entry.isfile()}
                about = parse(tar.extractfile(members["stemcell.MF"]).read().decode()) \
                    if "stemcell.MF" in members else None
        except (tarfile.TarError, OSError, EOFError):
            raise DirectorError(50000, "Extracting stemcell archive failed. Check task debug log for details.") from None
        task.stage(stage, "Verifying stemcell manifest")
        if about is None:
            raise DirectorError(100, "No such file or directory @ rb_sysopen - stemcell.MF")
        for name in ("name", "version", "sha1"):
            if name not in about:
                raise DirectorError(40001, f"Required property '{name}' was not specified in object ({about})")
            if not isinstance(about[name], str):
                raise DirectorError(40000, f"Property '{name}' value ({about[name]!r}) did not match the required type "
                                    "'String'")
        if "image" not in members:
            raise DirectorError(50001, "Stemcell image not found")
        name, version = about["name"], about["version"]
        with self.locked(task, f"lock:stemcells:{name}:{version}"):
            row = next((row for row in self.db["stemcells"] if (row["name"], row["version"]) == (name, version)), None)
            task.stage(stage, "Checking if this stemcell already exists")
            uploads = fix or row is None
            after = "" if uploads else " (already exists, skipped)"
            if uploads:
                cid = self.iaas.create_stemcell(f"{name}/{version}")
                with self.db.change() as rows:
                    if row is None:
                        row = {"id": self.db.next_id("stemcell"), "name": name, "version": version,
                               "operating_system": about.get("operating_system", name), "sha1": about["sha1"],
                               "api_version": about.get("api_version")}
                        rows["stemcells"].append(row)
                    row["cid"] = cid
            task.stage(stage, f"Uploading stemcell {name}/{version} to the cloud{after}")
            task.stage(stage, f"Save stemcell {name}/{version} ({row['cid']}){after}")
        task.summary = f"/stemcells/{name}/{version}"

    def delete_stemcell(self, task, name, version):
        with self.db.change() as rows:
            found = [row for row in rows["stemcells"] if (row["name"], row["version"]) == (name, version)]
            users = [one["name"] for one in rows["deployments"].values()
                     if {"name": name, "version": version} in one["stemcells"]]
            if users:
                raise DirectorError(50004, f"Stemcell '{name}/{version}' is still in use by: {', '.join(users)}")
            rows["stemcells"] = [row for row in rows["stemcells"] if row not in found]
        for row in found:
            self.iaas.delete_stemcell(row["cid"])
        task.summary = f"/stemcells/{name}/{version}"

    # -- releases and configs ----------------------------------------------------------------------------

    def list_releases(self):
        found = {}
        for row in sorted(self.db["releases"], key=lambda one: one["name"]):
            used = any({"name": row["name"], "version": row["version"]} in one["releases"]
                       for one in self.db["deployments"].values())
            found.setdefault(row["name"], []).append({
                "version": row["version"], "commit_hash": row["commit_hash"], "uncommitted_changes": False,
                "currently_deployed": used, "job_names": sorted(row["jobs"])})
        return Answer.json([{"name": name, "release_versions": versions} for name, versions in found.items()])

    def add_release(self, name, version, jobs):
        """The jobs go to the blobstore, one blob each; a release that is there gets what it lacks."""
        with self.db.change() as rows:
            row = next((row for row in rows["releases"] if (row["name"], row["version"]) == (name, version)), None)
            if row is None:
                row = {"id": self.db.next_id("release"), "name": name, "version": version,
                       "commit_hash": hashlib.sha256(f"{name}/{version}".encode()).hexdigest()[:9], "jobs": {}}
                rows["releases"].append(row)
            for job, value in jobs.items():
                if job not in row["jobs"]:
                    row["jobs"][job] = self.blobs.put(json.dumps(value, sort_keys=True).encode())

    def list_configs(self, request):
        limit = int(request.query.get("limit") or 1)
        if request.query.get("latest") == "false" and "limit" not in request.query:
            limit = None
        found, seen = [], {}
        for row in sorted(self.db["configs"], key=lambda one: (one["type"], one["name"], -one["id"])):
            if any(request.query.get(name) not in (None, row[name]) for name in ("type", "name")):
                continue
            key = (row["type"], row["name"])
            seen[key] = seen.get(key, 0) + 1
            if limit is None or seen[key] <= limit:
                found.append({**row, "id": str(row["id"]), "team": None, "current": seen[key] == 1})
        return Answer.json(found)

    def update_config(self, request):
        given = json.loads(request.body)
        for name in ("type", "name", "content"):
            if not given.get(name):
                raise Answer.json({"code": 440010, "description": f"'{name}' is required"}, 400)
        known = [row for row in self.db["configs"] if (row["type"], row["name"]) == (given["type"], given["name"])]
        if known and known[-1]["content"] == given["content"]:  # nothing new
            return Answer.json({**known[-1], "id": str(known[-1]["id"]), "team": None, "current": True}, 201)
        return Answer.json(self.add_config(given["type"], given["name"], given["content"]), 201)

    def add_config(self, kind, name, content):
        with self.db.change() as rows:
            row = {"id": self.db.next_id("config"), "type": kind, "name": name, "content": content,
                   "created_at": stamp()}
            rows["configs"].append(row)
        return {**row, "id": str(row["id"]), "team": None, "current": True}

    # -- what is left over ---------------------------------------------------------------------------------

    def delete_orphan_disk(self, cid):
        """As the CPI of an IaaS that may not know it any more."""
        try:
            self.iaas.delete_disk(cid)
        except CloudError:
            pass
        with self.db.change() as rows:
            rows["orphan_disks"] = [row for row in rows["orphan_disks"] if row["disk_cid"] != cid]

    def cleanup(self, task, remove_all, keep_disks):
        disks = [] if keep_disks or not remove_all else [row["disk_cid"] for row in self.db["orphan_disks"]]
        for cid in disks:
            task.stage("Deleting orphaned disks", cid)
            self.delete_orphan_disk(cid)
        unused = [row for row in self.db["stemcells"] if not any(
            {"name": row["name"], "version": row["version"]} in one["stemcells"]
            for one in self.db["deployments"].values())]
        for row in unused if remove_all else []:
            self.delete_stemcell(task, row["name"], row["version"])
        task.summary = f"Deleted 0 release(s), {len(unused) if remove_all else 0} stemcell(s), " \
                       f"{len(disks)} orphaned disk(s)"


def first_file(kind, body):
    """The first part of a form that has a file name."""
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    for part in message.iter_parts() if message.is_multipart() else ():
        if part.get_filename():
            return part.get_payload(decode=True)
    raise Answer.json({"code": 40000, "description": "the form has no file"}, 400)
