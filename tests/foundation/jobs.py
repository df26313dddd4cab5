"""BOSH jobs as directories: turns the spec's description of a job into files under a /var/vcap tree.

Script values, from simple to exact:
  "text"                      the body of a journalled bash script
  {"body": "text", ...}       the same with: sleep (seconds), stdout, yaml, files
                              ({name: text} written into the artifact directory), restore_to (copy the
                              artifact directory there), body, stderr, exit; they run in that order
  {"raw": "text"}             the file as it is, nothing added (may be empty)
  {"symlink": "target"}       the script is a link
plus "mode" (octal text, default 0755). The script called metadata may be given as {"yaml": ...}.
"""

import json
import os
import shlex
import shutil

import tree


def write_job(vcap, name, job):
    """Write one job below `vcap`, as a link into data/jobs when the job is `linked` (the default)."""
    place = f"{vcap}/jobs/{name}"
    remove_job(vcap, name)
    if job.get("linked", True):
        real = f"{vcap}/data/jobs/{name}/1a2b3c"
        os.makedirs(real, mode=0o755)
        os.symlink(f"/var/vcap/data/jobs/{name}/1a2b3c", place)
    else:
        real = place
        os.makedirs(real, mode=0o755)
    os.makedirs(f"{real}/bin", exist_ok=True)
    for script, value in job.get("scripts", {}).items():
        path = f"{real}/bin/bbr/{script}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_script(path, name, script, value)
    for path, content in job.get("files", {}).items():
        write_file(f"{real}/{path}", content)


def remove_job(vcap, name):
    place = f"{vcap}/jobs/{name}"
    if os.path.islink(place):
        os.unlink(place)
        shutil.rmtree(f"{vcap}/data/jobs/{name}", ignore_errors=True)
    elif os.path.isdir(place):
        shutil.rmtree(place)


def write_script(path, job, script, value):
    if os.path.lexists(path):
        os.unlink(path)
    if isinstance(value, str):
        value = {"body": value}
    if "symlink" in value:
        os.symlink(value["symlink"], path)
        return
    text = value["raw"] if "raw" in value else script_text(job, script, value)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, int(value.get("mode", "0755"), 8))


def script_text(job, script, value):
    lines = ["#!/bin/bash", ". /var/lib/foundation/journal.sh",
             f"foundation_begin {shlex.quote(job)} {shlex.quote(script)}", "set -e"]
    if "sleep" in value:
        lines.append(f"sleep {float(value['sleep'])}")
    if "stdout" in value:
        lines.append(f"printf '%s' {shlex.quote(value['stdout'])}")
    if "yaml" in value:
        text = value["yaml"] if isinstance(value["yaml"], str) else json.dumps(value["yaml"], indent=1)
        lines.append(f"cat <<'END_OF_YAML'\n{text}\nEND_OF_YAML")
    for name, content in value.get("files", {}).items():
        target = f"\"$BBR_ARTIFACT_DIRECTORY\"{shlex.quote(name)}"
        if "/" in name:
            lines.append(f"mkdir -p \"$(dirname {target})\"")
        lines.append(f"printf '%s' {shlex.quote(content)} > {target}")
    if "restore_to" in value:
        place = shlex.quote(value["restore_to"])
        lines.append(f"rm -rf {place}; mkdir -p {place}; cp -a \"$BBR_ARTIFACT_DIRECTORY\". {place}/")
    if value.get("body"):
        lines.append(value["body"].rstrip("\n"))
    if "stderr" in value:
        lines.append(f"printf '%s\\n' {shlex.quote(value['stderr'])} >&2")
    if "exit" in value:
        lines.append(f"exit {int(value['exit'])}")
    return "\n".join(lines) + "\n"


def write_file(path, content):
    """Content is text, or {"text"|"size"|"tree"|"symlink"|"dir", "mode"}; size and tree are repeatable."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if isinstance(content, str):
        content = {"text": content}
    if os.path.lexists(path) and not os.path.isdir(path):
        os.unlink(path)
    if "symlink" in content:
        os.symlink(content["symlink"], path)
        return
    if "tree" in content:
        tree.make(path, **content["tree"])
    elif content.get("dir"):
        os.makedirs(path, exist_ok=True)
    elif "size" in content:
        import random

        source = random.Random(content.get("seed", os.path.basename(path)))
        with open(path, "wb") as file:
            left = int(content["size"])
            while left:
                piece = min(left, 1 << 20)
                file.write(source.randbytes(piece))
                left -= piece
    else:
        with open(path, "w") as file:
            file.write(content.get("text", ""))
    if "mode" in content:
        os.chmod(path, int(content["mode"], 8))
