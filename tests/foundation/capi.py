"""A Cloud Controller: its v3 API with paging, rate limit and expiring tokens, the network policies and router groups
beside it, and TAS' UAA. What they hold is capi_world.py's.

Nobody answers while every `cloud_controller` instance is locked by its BBR scripts, or while there is no TAS.
"""

import base64
import os
import re
import secrets
import threading
import time
import urllib.parse

from capi_world import KINDS, World
from instance import FoundationError
from tas import LOCKED
from uaa import Uaa
from uaa_lists import user
from web import Answer, Service

PATHS = {kind for kind in KINDS if kind not in ("uaa_clients", "network_policies", "router_groups")}
PAGED = {"page", "per_page", "order_by", "guids", "names", "include"}
ORDERS = {"created_at", "-created_at", "updated_at", "-updated_at", "name", "-name", "id"}
MOST = 5000
SPEC = {"orgs", "spaces", "apps", "users", "droplets", "seed", "routes", "service_instances", "bindings", "roles",
        "empty", "rate_limit", "latency", "forbidden", "client", "client_secret", "username", "password",
        "token_seconds", "token_uses", "old", "clients"}
JOB = "cloud_controller_ng"


class CfUaa(Uaa):
    """TAS' UAA: clients by their secrets, users through the client `cf`, which has none."""

    name = "cf-uaa"

    def __init__(self, authority, spec, world):
        client, secret = spec.get("client", "lifeboat_auditor"), spec.get("client_secret", "auditor-client-secret")
        self.people = {spec.get("username", "auditor"): spec.get("password", "auditor-password"),
                       "admin": "cf-admin-password"}
        self.world = world
        super().__init__(authority, {"client": client, "secret": secret, "clients": {
            "admin": "cf-admin-client-secret", **spec.get("clients", {})}, **{key: spec[key] for key in (
                "token_seconds", "token_uses") if key in spec}})
        self.forbidden = [one.removeprefix("uaa_") for one in spec.get("forbidden", ())]

    def answer(self, request):
        if request.command == "GET" and request.route in ("/Users", "/oauth/clients"):
            return self.listed(request, "users" if request.route == "/Users" else "clients")
        if request.route == "/oauth/token" and request.command == "POST":
            form = dict(urllib.parse.parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
            if form.get("grant_type") == "password":
                return self.for_user(request, form)
        return super().answer(request)

    def for_user(self, request, form):
        header = request.headers.get("Authorization")
        known = self.people.get(form.get("username")) == form.get("password") and form.get("password")
        request.entry["authorized"] = bool(known) and header == "Basic " + base64.b64encode(b"cf:").decode()
        if not request.entry["authorized"]:
            return Answer.json({"error": "unauthorized", "error_description": "Bad credentials"}, 401)
        token = f"eyJhbGciOiJub25lIn0.{secrets.token_urlsafe(60)}"
        with self.lock:
            self.tokens[token] = [time.monotonic() + self.token_seconds, self.token_uses, form["username"]]
        return Answer.json({"access_token": token, "token_type": "bearer", "expires_in": self.token_seconds,
                            "refresh_token": secrets.token_urlsafe(30), "scope": "cloud_controller.global_auditor",
                            "jti": secrets.token_hex(16)})

    def may_list(self, header):
        return True

    def rows(self, kind, start, count):
        self.world.refresh()
        if kind == "clients":
            return self.world.slice("uaa_clients", start, count), self.world.total("uaa_clients")
        rows = self.world.slice("users", start, count)
        return [user(row["guid"], row["username"], row["origin"]) for row in rows], self.world.total("users")


class Capi(Service):
    name = "capi"

    def __init__(self, authority, spec, foundation):
        self.spec, self.foundation = spec, foundation
        counts = {key: value for key, value in spec.items() if key in (
            "orgs", "spaces", "apps", "users", "droplets", "seed", "routes", "service_instances", "bindings", "roles")}
        self.world = World(None if spec.get("empty") else counts, foundation.postgres)
        self.uaa = CfUaa(authority, spec, self.world)
        self.counting = threading.Lock()
        self.window, self.count = 0, 0
        self.refused, self.most_refused = 0, 0
        self.now, self.most = 0, 0
        super().__init__(authority)

    # -- whether anybody answers ------------------------------------------------------------------------------

    def runs(self):
        """There is a TAS, and not all of its Cloud Controllers are locked."""
        director = self.foundation.director
        found = [one for one in list(self.foundation.instances.values())
                 if os.path.lexists(f"{one.root}/var/vcap/jobs/{JOB}")]
        if not found:
            return director is None
        return not all(os.path.exists(one.root + LOCKED) for one in found)

    def answer(self, request):
        with self.counting:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return self._answer(request)
        finally:
            with self.counting:
                self.now -= 1

    def _answer(self, request):
        if not self.runs():
            return Answer(404, "404 Not Found: Requested route ('api.sys.test.example.com') does not exist.\n",
                          headers={"X-Cf-Routererror": "unknown_route"})
        if self.spec.get("latency"):
            time.sleep(self.spec["latency"])
        if request.route in ("/", "/v3", "/v3/info"):
            return self.about(request.route)
        headers, refusal = self.limited(request)
        if refusal is not None:
            return refusal
        if not self.uaa.accepts(request.headers.get("Authorization")):
            return self.error(401, 10002, "CF-NotAuthenticated", "Authentication error", headers)
        request.entry["authorized"] = True
        try:
            self.world.refresh()
            answer = self.get(request)
        except FoundationError:
            answer = self.error(503, 10001, "CF-ServiceUnavailable", "Database connection failure")
        answer.headers.update(headers)
        return answer

    def limited(self, request):
        """Headers that tell what is left, and a refusal when nothing is. Counts per window, as one user."""
        limit = self.spec.get("rate_limit")
        if not limit:
            return {}, None
        most, seconds = limit["limit"], limit["seconds"]
        with self.counting:
            now = time.time()
            # From the refusal on: however slowly somebody asks, the limit is reached.
            counts_on = limit.get("from") == "refusal" and self.count <= most
            if now >= self.window:
                self.window, self.count, self.refused = now + seconds, self.count if counts_on else 0, 0
            self.count += 1
            if counts_on and self.count > most:
                self.window = now + seconds
            reset = str(int(self.window) + 1)
            left = int((most - self.count) / most * 10) / 10 * most  # an estimate, in steps of a tenth
            headers = {"X-RateLimit-Limit": str(most), "X-RateLimit-Remaining": str(max(0, int(left))),
                       "X-RateLimit-Reset": reset}
            if self.count <= most:
                return headers, None
            self.refused += 1
            self.most_refused = max(self.most_refused, self.refused)
        refusal = self.error(429, 10013, "CF-RateLimitExceeded", "Rate Limit Exceeded", {
            **headers, "Retry-After": reset if limit.get("retry_after") != "seconds" else str(
                max(1, round(self.window - now) + 1))})
        refusal.kind = "text/plain; charset=utf-8"
        return headers, refusal

    @staticmethod
    def error(status, code, title, detail, headers=None):
        return Answer.json({"errors": [{"code": code, "title": title, "detail": detail}]}, status, headers)

    def about(self, route):
        def link(path):
            return {"href": self.url + path}

        if route == "/v3/info":
            return Answer.json({"build": "", "name": "Small", "version": 0, "description": "", "custom": {},
                                "cli_version": {"minimum": "", "recommended": ""}, "links": {"self": link("/v3/info")}})
        if route == "/v3":
            return Answer.json({"links": {"self": link("/v3"), **{kind: link(f"/v3/{kind}") for kind in PATHS}}})
        return Answer.json({"links": {
            "self": link(""), "cloud_controller_v2": None,
            "cloud_controller_v3": {**link("/v3"), "meta": {"version": "3.180.0"}},
            "network_policy_v0": link("/networking/v0/external"), "network_policy_v1": link("/networking/v1/external"),
            "login": {"href": self.uaa.url}, "uaa": {"href": self.uaa.url}, "credhub": None,
            "routing": link("/routing"), "logging": None, "log_cache": None, "log_stream": None,
            "app_ssh": None}})

    def get(self, request):
        if request.command != "GET":
            return self.error(404, 10000, "CF-NotFound", "Unknown request")
        for name in self.spec.get("forbidden", ()):
            if re.search(rf"/{name}\b", request.route):
                return self.error(403, 10003, "CF-NotAuthorized", "You are not authorized to perform the requested action")
        if request.route == "/networking/v1/external/policies":
            rows = [{key: row[key] for key in ("source", "destination")}
                    for row in self.world.slice("network_policies", 0, self.world.total("network_policies"))]
            return Answer.json({"total_policies": len(rows), "policies": rows})
        if request.route == "/routing/v1/router_groups":
            return Answer.json([{key: row[key] for key in ("guid", "name", "type", "reservable_ports")}
                                for row in self.world.slice("router_groups", 0, 10)])
        parts = request.route.strip("/").split("/")
        if parts[0] != "v3" or len(parts) < 2 or parts[1] not in PATHS:
            return self.error(404, 10000, "CF-NotFound", "Unknown request")
        if len(parts) == 2:
            return self.page(request, parts[1])
        row = self.world.find(parts[1], parts[2])
        if row is None:
            return self.error(404, 10010, "CF-ResourceNotFound", f"{parts[1][:-1].capitalize()} not found")
        if len(parts) == 3:
            return Answer.json(self.shown(parts[1], row))
        return self.below(parts[1], row, "/".join(parts[3:]))

    def below(self, kind, row, rest):
        if (kind, rest) == ("service_plans", "visibility"):
            orgs = [{"guid": one["guid"], "name": one["name"]} for one in self.world.slice("organizations", 0, 2)]
            found = {"type": row["visibility_type"]}
            return Answer.json({**found, "organizations": orgs} if found["type"] == "organization" else found)
        if kind == "isolation_segments" and rest in ("relationships/organizations", "relationships/spaces"):
            count = 1 if row["name"] == "separate" else 0
            return Answer.json({"data": [{"guid": one["guid"]} for one in self.world.slice(
                rest.split("/")[1], 0, count)], "links": {}})
        if (kind, rest) == ("apps", "droplets/current"):
            current = row["relationships"]["current_droplet"]["data"]
            droplet = current and self.world.find("droplets", current["guid"])
            if droplet:
                return Answer.json(self.shown("droplets", droplet))
        return self.error(404, 10010, "CF-ResourceNotFound", "not found")

    def shown(self, kind, row):
        """As the API shows a row: nothing of apps that are gone, and, of an old one, no current droplet."""
        if kind == "routes":
            row["destinations"] = [one for one in row["destinations"] if self.world.find("apps", one["app"]["guid"])]
        if self.spec.get("old") and kind == "apps":
            del row["relationships"]["current_droplet"]
        if kind == "feature_flags":
            return {key: row[key] for key in ("name", "enabled", "updated_at", "custom_error_message")}
        return {**row, "links": {**row.get("links", {}), "self": {"href": f"{self.url}/v3/{kind}/{row['guid']}"}}}

    def page(self, request, kind):
        unknown = set(request.query) - PAGED
        if unknown:
            return self.error(400, 10005, "CF-BadQueryParameter", "The query parameter is invalid: Unknown query "
                              f"parameter(s): '{', '.join(sorted(unknown))}'. Valid parameters are: …")
        try:
            page, per_page = int(request.query.get("page", 1)), int(request.query.get("per_page", 50))
        except ValueError:
            page = per_page = 0
        if page < 1 or not 1 <= per_page <= MOST:
            return self.error(400, 10005, "CF-BadQueryParameter", "The query parameter is invalid: Per page must be "
                              f"between 1 and {MOST}")
        order = request.query.get("order_by", "created_at")
        if order not in (ORDERS if kind != "feature_flags" else {"name", "-name"}) and "order_by" in request.query:
            return self.error(400, 10005, "CF-BadQueryParameter", "The query parameter is invalid: Order by can only "
                              f"be: {sorted(ORDERS)}")
        rows, total = self.chosen(kind, request.query, (page - 1) * per_page, per_page)
        pages = max(1, -(-total // per_page))

        def link(number):
            query = urllib.parse.urlencode({**request.query, "page": number, "per_page": per_page})
            return {"href": f"{self.url}/v3/{kind}?{query}"}

        found = {"pagination": {"total_results": total, "total_pages": pages, "first": link(1), "last": link(pages),
                                "next": link(page + 1) if page < pages else None,
                                "previous": link(page - 1) if page > 1 else None},
                 "resources": [self.shown(kind, row) for row in rows]}
        if request.query.get("include") == "user" and kind == "roles":
            guids = {row["relationships"]["user"]["data"]["guid"] for row in rows}
            found["included"] = {"users": [row for row in map(lambda one: self.world.find("users", one), sorted(guids))
                                           if row]}
        elif "include" in request.query:
            return self.error(400, 10005, "CF-BadQueryParameter", "Invalid included resource")
        return Answer.json(found)

    def chosen(self, kind, query, start, count):
        """Rows and their number: all in the order of creation, or those with these GUIDs or names."""
        if "guids" in query:
            rows = [row for row in (self.world.find(kind, guid) for guid in query["guids"].split(",")) if row]
        elif "names" in query:
            names = query["names"].split(",")
            rows = [row for row in self.world.slice(kind, 0, self.world.total(kind)) if row.get("name") in names]
        else:
            return self.world.slice(kind, start, count), self.world.total(kind)
        return rows[start:start + count], len(rows)

    def describe(self):
        people = next(iter(self.uaa.people.items()))
        return {"url": self.url, "uaa": self.uaa.url, "client": self.uaa.client, "client_secret": self.uaa.secret,
                "username": people[0], "password": people[1]}

    def end(self):
        self.uaa.end()
        super().end()
