"""The UAA inside an Ops Manager: password and client-credentials grants, tokens that expire, roles as scopes.

Whose users and clients they are is the model's; which scope may do what is opsman.py's.
"""

import base64
import json
import secrets
import threading
import time
import urllib.parse

from web import Answer

ROLES = ("admin", "full_control", "restricted_control", "full_view", "restricted_view")


class OpsUaa:
    def __init__(self, spec):
        self.token_seconds = spec.get("token_seconds", 600)
        self.token_uses = spec.get("token_uses")
        self.tokens = {}
        self.lock = threading.Lock()

    def token(self, request, model):
        form = dict(urllib.parse.parse_qsl(request.body.decode(errors="replace")))
        client, secret = basic(request.headers.get("Authorization"))
        if client is None:  # UAA takes them from the form as well
            client, secret = form.get("client_id"), form.get("client_secret", "")
        grant = form.get("grant_type")
        request.entry["body"] = f"grant_type={grant}"
        if grant == "password":
            return self.password(request, model, client, secret, form)
        if grant == "client_credentials":
            for known in model.data["clients"]:
                if client == known["client_id"] and secret == known["client_secret"]:
                    return self.give(request, client, known["role"], {"client_id": client})
            return refuse(request, "unauthorized", "Bad credentials")
        return refuse(request, "unsupported_grant_type", f"Unsupported grant type: {grant}", 400)

    def password(self, request, model, client, secret, form):
        if (client, secret) != ("opsman", ""):
            return refuse(request, "unauthorized", "Bad credentials")
        if model.data["identity_provider"] in ("saml", "oidc"):
            return refuse(request, "unauthorized", "the identity provider does not support the password grant")
        for user in model.data["users"]:
            if form.get("username") == user["username"] and form.get("password") == user["password"]:
                return self.give(request, user["username"], user["role"], {"user_name": user["username"]})
        return refuse(request, "unauthorized", "Bad credentials")

    def give(self, request, name, role, claims):
        request.entry["authorized"] = True
        scopes = [f"opsman.{role}"]
        seconds = self.token_seconds
        inside = {**claims, "scope": scopes, "exp": int(time.time() + seconds), "jti": secrets.token_hex(16)}
        token = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in (
            '{"alg":"RS256","typ":"JWT"}', json.dumps(inside), secrets.token_hex(64)))
        with self.lock:
            self.tokens[token] = {"name": name, "scopes": scopes, "until": time.monotonic() + seconds,
                                  "uses": self.token_uses}
        return Answer.json({"access_token": token, "token_type": "bearer", "expires_in": int(seconds),
                            "scope": " ".join(scopes), "jti": inside["jti"]})

    def who(self, header):
        """The living token's owner, or None; counts one use."""
        kind, _space, token = (header or "").partition(" ")
        with self.lock:
            found = self.tokens.get(token)
            if kind.lower() != "bearer" or found is None or time.monotonic() > found["until"]:
                return None
            if found["uses"] is not None:
                if found["uses"] <= 0:
                    return None
                found["uses"] -= 1
            return found

    def expire_tokens(self):
        with self.lock:
            count = len(self.tokens)
            self.tokens.clear()
        return count


def basic(header):
    kind, _space, text = (header or "").partition(" ")
    if kind.lower() != "basic":
        return None, None
    try:
        client, _colon, secret = base64.b64decode(text).decode().partition(":")
    except ValueError:
        return "", ""
    return urllib.parse.unquote(client), urllib.parse.unquote(secret)


def refuse(request, error, description, status=401):
    request.entry["authorized"] = False
    return Answer.json({"error": error, "error_description": description}, status)
