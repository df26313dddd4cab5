"""A small artifact directory as bbr writes it, for restores that need no backup first."""

import hashlib
import io
import os
import tarfile

from manifest import yaml


def write(directory, spec):
    """Make `directory`/NAME with one tar and its metadata file; return the path."""
    place = os.path.join(directory, spec["name"])
    os.makedirs(place, mode=0o755, exist_ok=True)
    sums = {}
    with tarfile.open(f"{place}/{spec['group']}-{spec['index']}-{spec['job']}.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        top = tarfile.TarInfo("./")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for name, text in spec["files"].items():
            content = text.encode()
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
            sums[f"./{name}"] = hashlib.sha256(content).hexdigest()
    with open(f"{place}/metadata", "w") as file:
        file.write(yaml({
            "instances": [{"name": spec["group"], "index": str(spec["index"]),
                           "artifacts": [{"name": spec["job"], "checksums": sums}]}],
            "backup_activity": {"start_time": "2026/08/21 10:04:09 UTC", "finish_time": "2026/08/21 10:11:42 UTC"}}))
    return place
