"""The director's CredHub as far as names go: what is there and since when, never a value.

Its rows are the file `names` on the director's persistent disk, `NAME TIME` a line, which the job's BBR scripts save
and restore. Nobody answers while the job is locked.
"""

import os

from tas import LOCKED
from web import Answer, Service

NAMES = "/var/vcap/store/credhub/names"


class CredHub(Service):
    name = "credhub"

    def __init__(self, authority, foundation):
        self.foundation = foundation
        super().__init__(authority)

    def host(self):
        return self.foundation.director_host()

    def answer(self, request):
        host, uaa = self.host(), self.foundation.uaa
        if host is None or uaa is None or os.path.exists(host.root + LOCKED):
            return Answer(503, "no CredHub answers")
        if request.route == "/info":
            return Answer.json({"auth-server": {"url": uaa.url}, "app": {"name": "CredHub"}})
        if request.route == "/health":
            return Answer.json({"status": "UP"})
        if not uaa.accepts(request.headers.get("Authorization")):
            return Answer.json({"error": "invalid_token", "error_description": "Full authentication is required"}, 401)
        request.entry["authorized"] = True
        if request.route != "/api/v1/data" or request.command != "GET":
            return Answer.json({"error": "The request could not be completed because the credential does not exist or "
                                "you do not have sufficient authorization."}, 404)
        path, like = request.query.get("path"), request.query.get("name-like")
        if path is None and like is None:
            return Answer.json({"error": "The query parameter name is required for this request."}, 400)
        prefix = "" if path is None else path.rstrip("/") + "/"
        rows = [row for row in self.rows() if row["name"].startswith(prefix) and (like or "") in row["name"]]
        return Answer.json({"credentials": sorted(rows, key=lambda row: row["version_created_at"], reverse=True)})

    def rows(self):
        try:
            with open(self.host().root + NAMES) as file:
                lines = [line.split() for line in file if line.strip()]
        except FileNotFoundError:
            return []
        return [{"name": name, "version_created_at": time} for name, time in lines]
