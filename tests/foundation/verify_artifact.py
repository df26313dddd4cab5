"""Reads a directory as bbr's restore would, knowing nothing of the program that wrote it.

    python3 verify_artifact.py DIR

Checks names, keys, hashes and times against the BBR contract (section 4 of its fact sheet) and prints
{"tars": {FILE: number of recorded entries}, "others": [FILE…]}; exit 1 and a sentence when something is wrong. YAML is read
by a small parser of its own: block mappings and lists, quoted and plain scalars, !!binary, explicit keys, {}.
"""

import base64
import hashlib
import json
import os
import re
import sys
import tarfile

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "0": "\0", "a": "\a", "b": "\b", "e": "\x1b",
           "f": "\f", "v": "\v", "/": "/", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029", " ": " "}
WIDTHS = {"x": 2, "u": 4, "U": 8}
TIME = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ([A-Z]{3,5}|[+-]\d{2,4})")


def scalar(text):
    """One scalar at the start of `text`; its value as bytes, and what follows it."""
    if text.startswith("!!binary "):
        value, rest = scalar(text[len("!!binary "):])
        return base64.b64decode(value, validate=True), rest
    if text.startswith('"'):
        value, at = "", 1
        while text[at] != '"':
            if text[at] != "\\":
                value, at = value + text[at], at + 1
                continue
            kind = text[at + 1]
            width = WIDTHS.get(kind)
            value += chr(int(text[at + 2:at + 2 + width], 16)) if width else ESCAPES[kind]
            at += 2 + (width or 0)
        return value.encode(), text[at + 1:]
    if text.startswith("'"):
        match = re.match(r"'((?:[^']|'')*)'", text)
        return match[1].replace("''", "'").encode(), text[match.end():]
    match = re.match(r"(?:[^:#]|:(?! |$)|(?<! )#)*", text)
    return match[0].strip().encode(), text[match.end():]


class Yaml:
    def __init__(self, text):
        self.lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]

    def indent(self):
        return len(self.lines[0]) - len(self.lines[0].lstrip(" ")) if self.lines else -1

    def node(self, inside):
        """The block at the head of the lines, which is at least as far in as `inside`."""
        deep = self.indent()
        if deep < inside:
            return None
        return self.items(deep) if self.lines[0].lstrip().startswith("- ") else self.mapping(deep)

    def items(self, deep):
        found = []
        while self.indent() == deep and self.lines[0].lstrip().startswith("- "):
            self.lines[0] = " " * (deep + 2) + self.lines[0].lstrip()[2:]
            found.append(self.mapping(deep + 2))
        return found

    def mapping(self, deep):
        found = {}
        while self.indent() == deep and not self.lines[0].lstrip().startswith("- "):
            line = self.lines.pop(0).lstrip()
            if line.startswith("? "):
                key, rest = scalar(line[2:])
                assert not rest.strip(), line
                line = self.lines.pop(0)
                assert line.startswith(" " * deep + ": "), line
                rest = line[deep:]
            else:
                key, rest = scalar(line)
            assert rest.startswith(":"), f"no value in {line!r}"
            rest = rest[1:].strip()
            assert key not in found, f"{key!r} twice"
            if rest == "{}":
                found[key] = {}
            elif rest == "[]":
                found[key] = []
            elif rest:
                value, rest = scalar(rest)
                assert not rest.strip(), f"{rest!r} is left"
                found[key] = value
            else:
                found[key] = self.node(deep) if self.lines and self.lines[0].lstrip().startswith("- ") else \
                    self.node(deep + 1)
        return found


def sums(path):
    found = {}
    with tarfile.open(path, "r:", errors="surrogateescape", encoding="utf-8") as tar:
        first = True
        for entry in tar:
            assert not first or (entry.name == "." and entry.isdir()), f"{path} begins with {entry.name!r}"
            first = False
            if entry.isdir():
                continue
            assert not entry.islnk(), f"{path} has the hard link {entry.name!r}"
            assert entry.name.startswith("./"), f"{path} has {entry.name!r}"
            content = tar.extractfile(entry).read() if entry.isfile() else b""
            name = os.fsencode(entry.name)
            assert name not in found, f"{path} has {name!r} twice"
            found[name] = hashlib.sha256(content).hexdigest().encode()
    assert not first, f"{path} is empty"
    return found


def verify(directory):
    with open(f"{directory}/metadata", encoding="ascii") as file:
        yaml = Yaml(file.read())
    metadata = yaml.node(0)
    assert not yaml.lines, f"left: {yaml.lines[:2]}"
    assert set(metadata) <= {b"instances", b"custom_artifacts", b"backup_activity"}, metadata.keys()
    recorded = {}
    for instance in metadata.get(b"instances", []):
        assert set(instance) == {b"name", b"index", b"artifacts"}, instance.keys()
        assert instance[b"index"].isdigit()
        for artifact in instance[b"artifacts"]:
            assert set(artifact) == {b"name", b"checksums"}
            name = b"-".join((instance[b"name"], instance[b"index"], artifact[b"name"]))
            assert name not in recorded
            recorded[name] = artifact[b"checksums"]
    for artifact in metadata.get(b"custom_artifacts", []):
        assert set(artifact) == {b"name", b"checksums"}
        assert artifact[b"name"].endswith(b"-backup-one-restore-all"), artifact[b"name"]
        recorded[artifact[b"name"]] = artifact[b"checksums"]
    activity = metadata[b"backup_activity"]
    assert set(activity) == {b"start_time", b"finish_time"}
    for time in activity.values():
        assert TIME.fullmatch(time.decode()), time
    files = set(os.listdir(directory)) - {"metadata"}
    tars = {name for name in files if name.endswith(".tar")}
    assert tars == {name.decode() + ".tar" for name in recorded}, f"{tars} are there, {recorded.keys()} recorded"
    for name, checksums in recorded.items():
        found = sums(f"{directory}/{name.decode()}.tar")
        assert found == checksums, f"{name}: {dict(list(set(found.items()) ^ set(checksums.items()))[:3])}"
    return {"tars": {name.decode() + ".tar": len(checksums) for name, checksums in sorted(recorded.items())},
            "others": sorted(files - tars)}


if __name__ == "__main__":
    try:
        print(json.dumps(verify(sys.argv[1])))
    except (AssertionError, KeyError, ValueError, OSError, tarfile.TarError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
