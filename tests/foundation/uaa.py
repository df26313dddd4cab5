"""UAA as far as a director's clients use it: client credentials and password tokens that wear out."""

import base64
import json
import secrets
import threading
import time
import urllib.parse

from web import Answer, Service


class Uaa(Service):
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
        self.lock = threading.Lock()
        super().__init__(authority)
        self.url += self.prefix

    def answer(self, request):
        if request.route != f"{self.prefix}/oauth/token" or request.command != "POST":
            return Answer.json({"error": "not_found"}, 404)
        form = dict(urllib.parse.parse_qsl(request.body.decode(errors="replace")))
        client = self.known_client(request.headers.get("Authorization"))
        request.entry["authorized"] = client is not None
        if not request.entry["authorized"]:
            return Answer.json({"error": "unauthorized", "error_description": "Bad credentials"}, 401)
        if form.get("grant_type") != "client_credentials":
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
            if header == "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode():
                return client
        return None

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


def team_may(request, parts, deployments):
    """A team's client has its own deployments and tasks, and reads what all share."""
    if parts[0] == "deployments" and len(parts) > 1:
        row = deployments.get(parts[1])
        return row is None or request.team in row["teams"]
    return parts[0] in ("deployments", "tasks", "task") or request.command == "GET" and parts[0] in (
        "stemcells", "releases", "configs")
