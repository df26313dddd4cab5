"""What users of TAS see: the router with one app, and the APIs behind it. `"router": true` in the spec.

`/api` (Cloud Controller) and `/credhub` do not answer while one of their jobs is locked; `/uaa` stays, read-only; `/app`
runs all the time. Without the deployment there is nobody behind the router (404), as a real one says.
`/app/row/N` is read from TAS' database, `/app/blob/NAME` from its blobstore; `/app/secret` is what CredHub's bootstrap
instance keeps.
"""

import hashlib
import os
import re

from instance import FoundationError
from web import Answer, Service

LOCKED = "var/vcap/sys/run/locked-by-bbr"
JOBS = {"api": "cloud_controller_ng", "uaa": "uaa", "credhub": "credhub"}


class Router(Service):
    name = "router"

    def __init__(self, foundation, port=0):
        self.foundation = foundation
        super().__init__(foundation.authority, port)

    @property
    def authority(self):
        """An import brings the original's authority, which then signs what the router shows."""
        director = self.foundation.director
        return director.authority if director else self.own

    @authority.setter
    def authority(self, value):
        self.own = value

    def members(self, job):
        return [one for one in list(self.foundation.instances.values())
                if os.path.lexists(f"{one.vcap}/jobs/{job}") and not one.name.startswith("bosh/")]

    def answer(self, request):
        what, _, rest = request.route.strip("/").partition("/")
        found = self.members(JOBS.get(what, JOBS["api"]))
        if not found or what not in (*JOBS, "app"):
            return Answer(404, "404 Not Found: Requested route does not exist.\n")
        if what != "app":
            if what != "uaa" and any(os.path.exists(f"{one.root}/{LOCKED}") for one in found):
                return Answer(502, "502 Bad Gateway: Registered endpoint failed to handle the request.\n")
            return Answer.json({"status": "UP"} if what == "credhub" else {"name": what})
        return self.app(rest)

    def app(self, rest):
        try:
            if row := re.fullmatch(r"row/(\d+)", rest):
                name = self.foundation.postgres.sql(f"select name from apps where id = {int(row[1])}")
                return Answer(200 if name else 404, f"{name}\n")
            if blob := re.fullmatch(r"blob/([A-Za-z0-9._/-]+)", rest):
                return self.blob(blob[1])
        except FoundationError as error:
            return Answer(500, str(error))
        return Answer(200, "the canary answers\n") if rest == "" else Answer(404, "not found\n")

    def blob(self, name):
        for one in self.members("blobstore"):
            path = os.path.normpath(f"{one.root}/var/vcap/store/shared/{name}")
            if path.startswith(f"{one.root}/") and os.path.isfile(path):
                with open(path, "rb") as file:
                    return Answer(200, hashlib.sha256(file.read()).hexdigest())
        return Answer(404, "no such blob\n")

    def describe(self):
        return {"url": self.url}
