"""UAA as far as a director's clients use it: tokens that wear out, lists of clients and users.

With a director host the users are the file ROWS on its persistent disk, which the job's BBR scripts save and restore.
"""

import base64
import json
import secrets
import threading
import time
import urllib.parse

from uaa_lists import Lists, user
from web import Answer, Service

ROWS = "/var/vcap/store/uaa/users"
LOGIN, LOGIN_SECRET, ADMIN_PASSWORD = "login", "uaa-login-password", "uaa-admin-password"


class Uaa(Lists, Service):
    """`token_seconds` and `token_uses` bound a token's life; both may be changed while running."""

    name = "uaa"

    def __init__(self, authority, spec):
        self.client, self.secret = spec.get("client", "bbr_client"), spec.get("secret", "bbr_secret")
        self.clients = {self.client: self.secret, **spec.get("clients", {})}
        self.teams = spec.get("teams", {})
        self.token_type = spec.get("token_type", "bearer")
        self.token_seconds = spec.get("token_seconds", 600)
        self.token_uses = spec.get("token_uses")
        self.prefix = spec.get("prefix", "")
        self.tokens = {}
        self.host = lambda: None
        self.lock = threading.Lock()
        super().__init__(authority)
        self.url += self.prefix

    def answer(self, request):
        if request.command == "GET" and request.route.removeprefix(self.prefix) in ("/Users", "/oauth/clients"):
            return self.listed(request, "clients" if request.route.endswith("clients") else "users")
        if request.route != f"{self.prefix}/oauth/token" or request.command != "POST":
            return Answer.json({"error": "not_found"}, 404)
        form = dict(urllib.parse.parse_qsl(request.body.decode(errors="replace")))
        client = self.known_client(request.headers.get("Authorization"))
        if form.get("grant_type") == "password" and request.headers.get("Authorization") == basic(LOGIN, LOGIN_SECRET):
            known = (form.get("username"), form.get("password")) == ("admin", ADMIN_PASSWORD)
            client = "admin" if known else None
        request.entry["authorized"] = client is not None
        if not request.entry["authorized"]:
            return Answer.json({"error": "unauthorized", "error_description": "Bad credentials"}, 401)
        if form.get("grant_type") != "client_credentials" and client != "admin":
            return Answer.json({"error": "unsupported_grant_type",
                                "error_description": f"Unsupported grant type: {form.get('grant_type')}"}, 400)
        claims = base64.urlsafe_b64encode(json.dumps({"cid": client, "jti": secrets.token_hex(8)}).encode())
        token = f"eyJhbGciOiJub25lIn0.{claims.decode().rstrip('=')}.{secrets.token_urlsafe(40)}"
        with self.lock:
            self.tokens[token] = [time.monotonic() + self.token_seconds, self.token_uses, client]
        scope = f"bosh.teams.{self.teams[client]}.admin" if client in self.teams else "bosh.admin"
        return Answer.json({"access_token": token, "token_type": self.token_type, "expires_in": self.token_seconds,
                            "scope": scope, "jti": secrets.token_hex(16)})

    def known_client(self, header):
        for client, secret in self.clients.items():
            if header == basic(client, secret):
                return client
        return None

    def may_list(self, header):
        """The administrator's tokens alone have clients.read and scim.read."""
        with self.lock:
            life = self.tokens.get((header or "").partition(" ")[2])
        return bool(life) and life[2] == "admin"

    def rows(self, kind, start, count):
        if kind == "clients":
            found = [{"client_id": name, "scope": ["uaa.none"], "authorities": ["bosh.admin"],
                      "authorized_grant_types": ["client_credentials"], "resource_ids": ["none"],
                      "lastModified": 1600000000000} for name in sorted([*self.clients, LOGIN])]
        else:
            host = self.host()
            try:
                with open(host.root + ROWS) as file:
                    names = file.read().split()
            except (AttributeError, FileNotFoundError):
                names = ["admin", "director"]
            found = [user(f"00000000-0000-4000-9000-{number:012x}", name) for number, name in enumerate(names)]
        return found[start:start + count], len(found)

    def accepts(self, header):
        """Is this Authorization header a living token? Counts one use."""
        kind, _space, token = (header or "").partition(" ")
        with self.lock:
            life = self.tokens.get(token)
            if kind.lower() != "bearer" or life is None or time.monotonic() > life[0]:
                return False
            if life[1] is not None:
                if life[1] <= 0:
                    return False
                life[1] -= 1
            return True

    def team(self, header):
        """The team of a token's client; None for clients that may see everything."""
        with self.lock:
            life = self.tokens.get((header or "").partition(" ")[2])
        return self.teams.get(life[2]) if life else None

    def expire_tokens(self):
        with self.lock:
            count = len(self.tokens)
            self.tokens.clear()
        return count


def basic(name, secret):
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def team_may(request, parts, deployments):
    """A team's client has its own deployments and tasks, and reads what all share."""
    if parts[0] == "deployments" and len(parts) > 1:
        row = deployments.get(parts[1])
        return row is None or request.team in row["teams"]
    return parts[0] in ("deployments", "tasks", "task") or request.command == "GET" and parts[0] in (
        "stemcells", "releases", "configs")
