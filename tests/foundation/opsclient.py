"""A small client for the simulated Ops Manager, for the self test: one call, what came back."""

import base64
import http.client
import json
import ssl
import urllib.parse


class OpsClient:
    def __init__(self, ready):
        self.about = ready["opsman"]
        self.context = ssl.create_default_context(cafile=ready["ca_file"])
        self.place = urllib.parse.urlsplit(self.about["url"])
        self.token = None

    def call(self, method, path, body=None, headers=None, token=True, seconds=60):
        """(status, headers, bytes); no redirect is followed."""
        connection = http.client.HTTPSConnection(self.place.hostname, self.place.port, context=self.context,
                                                 timeout=seconds)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        if token and self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def get(self, path):
        """The parsed answer of a read that must succeed."""
        status, _headers, text = self.call("GET", f"/api/v0{path}")
        assert status == 200, (path, status, text)
        return json.loads(text)

    def status(self, method, path, body=None, **more):
        return self.call(method, f"/api/v0{path}", body, **more)[0]

    def grant(self, basic, **form):
        """A token request; returns (status, parsed answer or text)."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json",
                   "Authorization": "Basic " + base64.b64encode(":".join(basic).encode()).decode()}
        status, _headers, text = self.call("POST", "/uaa/oauth/token", urllib.parse.urlencode(form), headers, False)
        return status, json.loads(text) if text[:1] == b"{" else text.decode()

    def login(self, username=None, password=None):
        status, answer = self.grant(("opsman", ""), grant_type="password", username=username or self.about["username"],
                                    password=password or self.about["password"], client_id="opsman",
                                    token_format="jwt")
        self.token = answer["access_token"] if status == 200 else None
        return status

    def login_client(self, client=None, secret=None):
        pair = (client or self.about["client_id"], secret or self.about["client_secret"])
        status, answer = self.grant(pair, grant_type="client_credentials", token_format="jwt")
        self.token = answer["access_token"] if status == 200 else None
        return status

    def available(self):
        """What /login/ensure_availability says, in one word."""
        try:
            status, headers, text = self.call("GET", "/login/ensure_availability", token=False)
        except ConnectionError:
            return "refused"
        if status == 302:
            return urllib.parse.urlsplit(headers["Location"]).path
        return "waiting" if status == 200 and b"Waiting for authentication system to start" in text else str(status)

    def install(self, **body):
        """Start an Apply Changes; returns its number or (status, text)."""
        status, _headers, text = self.call("POST", "/api/v0/installations", body)
        return json.loads(text)["install"]["id"] if status == 200 else (status, json.loads(text))

    def import_zip(self, content, passphrase, cut=False):
        mark = "a-boundary-of-the-self-test"
        body = b"".join([
            f'--{mark}\r\nContent-Disposition: form-data; name="installation[file]"; filename="installation.zip"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode(), content,
            f'\r\n--{mark}\r\nContent-Disposition: form-data; name="passphrase"\r\n\r\n'.encode(),
            passphrase.encode(), b"\r\n" if cut else f"\r\n--{mark}--\r\n".encode()])
        return self.call("POST", "/api/v0/installation_asset_collection", body,
                         {"Content-Type": f"multipart/form-data; boundary={mark}"})
