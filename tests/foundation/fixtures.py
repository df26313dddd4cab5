"""Ready-made specs, small ones here; the one that looks like TAS is in tas.py, a whole foundation
in opsman_fixture.py."""

import opsman_fixture
import tas

FILES = {"a": "A", "b": "B"}


def fixture(name, options):
    if name == "tas":
        return tas.spec(**options)
    if name == "ops":
        return opsman_fixture.spec(**options)
    try:
        return {"S1": s1, "S2": s2, "X1": x1, "R1": r1}[name]()
    except KeyError:
        raise ValueError(f"no fixture {name}: there are S1, S2, X1, R1, tas and ops") from None


def s1():
    """One deployment `dep`, group `g`, instance `u0`, job `j` of release `r` with backup."""
    return {"director": {}, "deployments": [{"name": "dep", "groups": [
        {"name": "g", "instances": [{"id": "u0"}],
         "jobs": {"j": {"release": "r", "scripts": {"backup": {"files": FILES}}}}}]}]}


def s2():
    """Two groups `g1`/`u1` and `g2`/`u2` with jobs `j1` and `j2` of release `r`, both with backup."""
    return {"director": {}, "deployments": [{"name": "dep", "groups": [
        {"name": f"g{n}", "instances": [{"id": f"u{n}"}],
         "jobs": {f"j{n}": {"release": "r", "scripts": {"backup": {"files": FILES}}}}} for n in (1, 2)]}]}


def x1():
    """A director host, login `bob`, with a job `bosh` that has backup and restore."""
    return {"hosts": [{"name": "bosh", "login": "bob", "jobs": {
        "bosh": {"scripts": {"backup": {"files": FILES}, "restore": {"restore_to": "/var/vcap/store/bosh"}}}}}]}


def r1():
    """S1 with restore instead of backup, and an artifact directory `art` (path in the ready line)."""
    spec = s1()
    spec["deployments"][0]["groups"][0]["jobs"]["j"]["scripts"] = {"restore": {"restore_to": "/var/vcap/store/j"}}
    spec["artifact"] = {"name": "art", "group": "g", "index": "0", "job": "j", "files": {"f": "F"}}
    return spec
