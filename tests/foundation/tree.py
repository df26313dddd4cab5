"""Directories full of files, as a blobstore has them: made repeatably, and changed by a share."""

import hashlib
import os
import random

# Names that bbr's checksum pipeline survives, then those it does not.
TAME = ("-dash", "--", "#hash", "dollar$HOME", "a&b;c", "star*", "[brackets]", "percent%20", "tilde~", "émoji-é-日本",
        "." + "hidden", "trailing.", "n" * 200, "deep/" + "/".join("d" * 60 for _ in range(5)) + "/leaf", "equal=sign",
        "at@plus+comma,", "(parens)", "bang!")
WILD = ("with space", " leading", "trailing ", "tab\there", "new\nline", "quote'single", 'quote"double', "back\\slash",
        b"latin-\xe9\xff", "carriage\rreturn", "\x01control")


def make(path, files=3000, small_bytes=300, big=3, big_bytes=1 << 20, odd=True, wild=False, seed="blobs", mode=0o640):
    """`files` small files in a two-level tree named by digest, `big` large ones, some odd names, an empty file
    and an empty directory; the same content for the same arguments."""
    source = random.Random(seed)
    os.makedirs(path, exist_ok=True)
    for number in range(files):
        name = hashlib.sha1(f"{seed}{number}".encode()).hexdigest()
        content = source.randbytes(source.randrange(1, small_bytes * 2))
        _write(f"{path}/{name[:2]}/{name[2:4]}/{name}", content, mode)
    for number in range(big):
        _write(f"{path}/big/{number}.bin", source.randbytes(big_bytes + number), 0o600)
    names = (TAME if odd else ()) + (WILD if wild else ())
    for name in names:
        encoded = name if isinstance(name, bytes) else name.encode()
        _write(os.fsencode(path) + b"/odd/" + encoded, b"content of " + encoded, 0o644)
    _write(f"{path}/empty-file", b"", 0o644)
    os.makedirs(f"{path}/empty-directory", exist_ok=True)


def churn(path, share=0.01, seed="churn"):
    """Replace, add and delete files: `share` of them in all (at least one each). Returns the counts."""
    source = random.Random(seed)
    found = sorted(os.path.join(place, name) for place, _dirs, names in os.walk(path) for name in names
                   if "/odd/" not in place + "/" and "/big" not in place)
    count = max(1, int(len(found) * share / 3))
    chosen = source.sample(found, min(len(found), 2 * count))
    changed, deleted = chosen[:count], chosen[count:]
    for name in changed:  # a new file in its place: hard links made before keep the old content
        content = source.randbytes(source.randrange(1, 600))
        os.unlink(name)
        _write(name, content, 0o640)
    for name in deleted:
        os.unlink(name)
    for number in range(count):
        _write(f"{path}/added/{seed}-{number}", source.randbytes(source.randrange(1, 600)), 0o640)
    return {"changed": len(changed), "deleted": len(deleted), "added": count}


def _write(path, content, mode):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
