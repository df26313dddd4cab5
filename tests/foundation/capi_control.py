"""The control verbs about the Cloud Controller; mixed into control.py's. README.md lists them."""

from capi import SPEC
from instance import FoundationError
from spec import check


class CapiVerbs:
    def _capi(self):
        if self.foundation.capi is None:
            raise FoundationError("no capi in this foundation")
        return self.foundation.capi

    def do_capi(self):
        """What is there, and how it was asked."""
        capi = self._capi()
        capi.world.refresh()
        return {"totals": {kind: capi.world.total(kind) for kind in (
            "organizations", "spaces", "apps", "routes", "roles", "users", "service_instances")}, "runs": capi.runs(),
            "most_at_once": capi.most, "most_refused": capi.most_refused, "requests": len(capi.requests)}

    def do_capi_set(self, **values):
        """Keys of the spec's `capi`, while it runs (not the counts)."""
        check(values, SPEC, "capi")
        capi = self._capi()
        capi.spec.update(values)
        if "forbidden" in values:
            capi.uaa.forbidden = [one.removeprefix("uaa_") for one in values["forbidden"]]

    def do_capi_find(self, kind, name):
        return {"row": self._capi().world.named(kind, name)}

    def do_capi_delete(self, kind, name):
        """With all that belongs to it."""
        world = self._capi().world
        return {"count": world.delete(kind, world.named(kind, name)["guid"])}

    def do_capi_change(self, kind, name, row):
        """`row` is merged over what is there."""
        world = self._capi().world
        world.change(kind, world.named(kind, name)["guid"], row)

    def do_capi_add(self, kind, row):
        return {"guid": self._capi().world.add(kind, row)}

    def do_credhub_names(self, add=(), remove=()):
        """Edits the rows; each of `add` is `NAME TIME`."""
        credhub = self._service("credhub")
        lines = [f"{row['name']} {row['version_created_at']}" for row in credhub.rows() if row["name"] not in remove]
        self.do_put_file(self.foundation.director_host().key, "/var/vcap/store/credhub/names",
                         text="".join(line + "\n" for line in [*lines, *add]))
