"""Export and import of the installation: a zip with an encrypted installation.yml and the workspace's files.

Knows no releases, stemcells, blobs or rows: an export holds none. `openssl` seals with the passphrase.
"""

import base64
import json
import os
import random
import re
import subprocess
import tempfile
import time
import zipfile

from manifest import manifest_text
from opsman_model import STATE, WORKSPACE, Model
from web import Answer

PIECE = 1 << 16


class Unseekable:
    """Makes zipfile write as to a pipe: sizes come after each entry, the directory at the end."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        return self.file.write(data)

    def flush(self):
        self.file.flush()


class Export:
    def export(self, request):
        given = self.spec.get("export", {})
        if given.get("status"):
            return Answer.json({"errors": {"base": ["the installation cannot be exported now"]}}, given["status"])
        if self.running() and given.get("while_applying"):
            return Answer.json({"errors": {"base": ["an installation is in progress"]}}, given["while_applying"])
        if self.model.data["director"] is None:
            return Answer.json({"errors": {"base": ["nothing has been deployed"]}}, 422)
        path = self.write_export(given)
        size = os.path.getsize(path)
        if given.get("truncate") is not None:  # the server gives up, and nobody is told
            size = min(size, given["truncate"])
        headers = {"Content-Disposition": 'attachment; filename="installation.zip"'}
        return Answer(200, kind="application/octet-stream", headers=headers,
                      stream=pieces(path, size, given.get("seconds", 0)),
                      length=None if given.get("chunked") else size)

    def write_export(self, given):
        handle, path = tempfile.mkstemp(prefix="export-", dir=self.foundation.directory)
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(
                Unseekable(file), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            text = json.dumps(self.model.data).encode()
            sealed = seal(text, self.model.passphrase)
            archive.writestr("installation.yml", sealed)
            archive.writestr("actual-installation.yml", sealed)
            for name, deployment in self.model.data["deployments"].items():
                archive.writestr(f"deployments/{name}.yml", manifest_text(deployment))
            state = self.vm.read(STATE)
            if state is not None:
                archive.writestr("deployments/bosh-state.json", state)
            for product in self.model.products():
                archive.writestr(f"metadata/{product['type']}.yml", json.dumps(
                    {"name": product["type"], "product_version": product["version"]}))
            source, left = random.Random("padding"), given.get("bytes", 100000)
            with archive.open("metadata/padding", "w", force_zip64=True) as padding:
                while left:
                    left -= padding.write(source.randbytes(min(left, 1 << 20)))
        return path

    # -- import ---------------------------------------------------------------------------------------------

    def import_installation(self, request):
        if self.state != "fresh":
            self.violation("import-after-setup", request)
            if self.state != "ready" or self.uaa.who(request.headers.get("Authorization")) is None:
                return Answer.json({"error": "unauthorized"}, 401)
            return Answer.json({"errors": {"base": ["Ops Manager has already been set up"]}}, 422)
        parts = multipart(request)
        archive, passphrase = parts.get("installation[file]"), parts.get("passphrase", b"").decode(errors="replace")
        request.entry["body"] = f"parts: {', '.join(sorted(parts))}"
        if archive is None or not passphrase:
            return Answer.json({"errors": {"base": ["installation[file] and passphrase are needed"]}}, 422)
        with tempfile.TemporaryFile(dir=self.foundation.directory) as file:
            file.write(archive)
            try:
                with zipfile.ZipFile(file) as opened:
                    if opened.testzip() is not None:
                        raise zipfile.BadZipFile
                    sealed = opened.read("installation.yml")
                    state = opened.read("deployments/bosh-state.json") if \
                        "deployments/bosh-state.json" in opened.namelist() else None
            except (zipfile.BadZipFile, KeyError, OSError):
                return Answer.json({"errors": {"base": ["the file is not an exported installation"]}}, 422)
        text = unseal(sealed, passphrase)
        if text is None:
            self.state = "half"
            if self.spec.get("wrong_passphrase") == "start-up":
                return Answer.json({})
            return Answer.json({"errors": {"base": ["Decryption passphrase is incorrect"]}}, 422)
        data = json.loads(text)
        own = self.spec.get("version", data["version"])
        if version_key(own) < version_key(data["version"]):
            return Answer.json({"errors": {"base": [
                f"the installation is of {data['version']}, newer than this Ops Manager"]}}, 422)
        data["version"] = own
        for stemcell in data["stemcells"]:
            stemcell["present_on_disk"] = False
        self.model = Model(data, passphrase)
        self.begin_installations()
        self.write_workspace()
        if state is not None:
            self.vm.write(STATE, state.decode())
        time.sleep(self.spec.get("import_seconds", 0))
        self.come_up()
        return Answer.json({})

    def write_workspace(self):
        """The files on the VM that go with the model; bosh-state.json belongs to Apply Changes."""
        active = [one["cert_pem"] for one in self.model.data["cas"] if one["active"]]
        self.vm.write(f"{WORKSPACE}/root_ca_certificate", "".join(active[-1:]))
        self.vm.write(f"{WORKSPACE}/installation.yml", seal(json.dumps(self.model.data).encode(),
                                                            self.model.passphrase).decode())
        for name, deployment in self.model.data["deployments"].items():
            self.vm.write(f"{WORKSPACE}/deployments/{name}.yml", manifest_text(deployment))


def pieces(path, size, seconds):
    """The file's first `size` bytes, then the file is gone."""
    try:
        with open(path, "rb") as file:
            left = size
            while left:
                piece = file.read(min(PIECE, left))
                if not piece:
                    return
                left -= len(piece)
                time.sleep(seconds * len(piece) / size)
                yield piece
    finally:
        os.unlink(path)


def multipart(request):
    """name -> bytes of a multipart/form-data body."""
    found = re.search(r'boundary="?([^";]+)"?', request.headers.get("Content-Type", ""))
    if not found or not request.headers.get("Content-Type", "").startswith("multipart/form-data"):
        raise Answer.json({"errors": {"base": ["multipart/form-data is expected"]}}, 422)
    mark, body, parts = b"--" + found[1].encode(), request.body, {}
    place = body.find(mark)
    while place >= 0:
        start = place + len(mark)
        if body[start:start + 2] == b"--":
            return parts
        end = body.find(b"\r\n" + mark, start)
        if end < 0:
            break
        head, _blank, content = body[start + 2:end].partition(b"\r\n\r\n")
        name = re.search(rb'; name="([^"]*)"', head)
        if name:
            parts[name[1].decode()] = content
            file_name = re.search(rb'filename="([^"]*)"', head)
            if file_name:
                parts[name[1].decode() + ":filename"] = file_name[1]
        place = end + 2
    raise Answer.json({"errors": {"base": ["the multipart body has no end"]}}, 422)


def seal(text, passphrase):
    done = openssl(text, passphrase)
    return b"---\nsealed: " + base64.b64encode(done.stdout) + b"\n"


def unseal(sealed, passphrase):
    """None with the wrong passphrase."""
    try:
        done = openssl(base64.b64decode(sealed.split(b"sealed: ", 1)[1]), passphrase, "-d")
        json.loads(done.stdout)
    except (ValueError, IndexError):
        return None
    return done.stdout if done.returncode == 0 else None


def openssl(text, passphrase, *more):
    return subprocess.run(["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "4096", "-pass", "env:PASSPHRASE",
                           *more], input=text, capture_output=True, check=False, env={
                               **os.environ, "PASSPHRASE": passphrase})


def version_key(text):
    return [int(number) for number in re.findall(r"\d+", text)]
