"""Checks of the simulated Cloud Controller, TAS' UAA and the director's CredHub: as over HTTP, and lost and restored."""

import base64
import json
import ssl
import time
import urllib.error
import urllib.request

from running import Running


class Client:
    def __init__(self, running):
        self.ready = running.ready
        self.context = ssl.create_default_context(cafile=self.ready["ca_file"])
        self.header = {}

    def call(self, url, headers=None, data=None):
        request = urllib.request.Request(url, headers={**self.header, **(headers or {})}, data=data)
        try:
            with urllib.request.urlopen(request, context=self.context) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def login(self, name, secret, form, uaa=None):
        self.header = {}
        basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
        status, _headers, body = self.call((uaa or self.ready["capi"]["uaa"]) + "/oauth/token",
                                           {"Authorization": f"Basic {basic}"}, form.encode())
        if status == 200:
            self.header = {"Authorization": "bearer " + json.loads(body)["access_token"]}
        return status

    def auditor(self):
        about = self.ready["capi"]
        assert self.login(about["client"], about["client_secret"], "grant_type=client_credentials") == 200

    def get(self, path, service="capi"):
        status, headers, body = self.call(self.ready[service]["url"] + path)
        return status, headers, json.loads(body) if body[:1] in (b"{", b"[") else body

    def all(self, kind, per_page=50):
        """Every row, by the next links."""
        rows, url = [], f"{self.ready['capi']['url']}/v3/{kind}?per_page={per_page}"
        while url:
            status, _headers, body = self.call(url)
            assert status == 200, body
            page = json.loads(body)
            rows += page["resources"]
            url = page["pagination"]["next"] and page["pagination"]["next"]["href"]
        return rows


def capi_pages_filters_and_refusals(work):
    running = Running({"capi": {"orgs": 7, "spaces": 30, "apps": 101, "forbidden": ["isolation_segments"]}})
    client = Client(running)
    assert client.get("/v3/apps")[0] == 401
    assert client.login("lifeboat_auditor", "wrong", "grant_type=client_credentials") == 401
    assert client.login("cf", "", "grant_type=password&username=auditor&password=auditor-password") == 200
    client.auditor()
    rows = client.all("apps", 10)
    assert len(rows) == 101 and len({row["guid"] for row in rows}) == 101
    assert [row["created_at"] for row in rows] == sorted(row["created_at"] for row in rows)
    for query in ("per_page=0", "per_page=5001", "page=0", "order_by=size", "unknown=1", "include=org"):
        assert client.get(f"/v3/apps?{query}")[0] == 400, query
    assert client.get("/v3/apps?per_page=5000")[2]["pagination"]["total_pages"] == 1
    assert client.get(f"/v3/apps?guids={rows[3]['guid']}")[2]["resources"][0]["name"] == rows[3]["name"]
    assert client.get("/v3/isolation_segments")[0] == 403 and client.get("/v3/nothing")[0] == 404
    included = client.get("/v3/roles?include=user&per_page=3")[2]["included"]["users"]
    assert included[0]["username"]
    current = client.get(f"/v3/apps/{rows[3]['guid']}/droplets/current")[2]
    assert current["guid"] == rows[3]["relationships"]["current_droplet"]["data"]["guid"]
    assert client.get("/v3/info")[0] == 200 and client.get("/")[2]["links"]["uaa"]["href"] == running.ready["capi"]["uaa"]


def capi_changes_cascade_and_pages_shift(work):
    running = Running({"capi": {"orgs": 2, "spaces": 4, "apps": 20}})
    client = Client(running)
    client.auditor()
    before = {kind: len(client.all(kind)) for kind in ("apps", "routes", "processes", "droplets")}
    assert running.ask("capi-delete", kind="apps", name="app-3")["count"] >= 5
    after = {kind: len(client.all(kind)) for kind in before}
    assert after == {"apps": 19, "routes": 20, "processes": before["processes"] - 1, "droplets": 38}, after
    route = next(row for row in client.all("routes") if row["host"] == "app-3")
    assert route["destinations"] == []
    running.ask("capi-change", kind="organization_quotas", name="large", row={"apps": {"total_memory_in_mb": 7}})
    quota = next(row for row in client.all("organization_quotas") if row["name"] == "large")
    assert quota["apps"] == {**quota["apps"], "total_memory_in_mb": 7, "per_app_tasks": 5}
    guid = running.ask("capi-add", kind="organizations", row={"name": "new", "relationships": {}})["guid"]
    assert client.all("organizations")[-1]["guid"] == guid
    second = client.get("/v3/apps?per_page=5&page=2")[2]["resources"][0]["name"]
    running.ask("capi-delete", kind="apps", name="app-0")
    assert client.get("/v3/apps?per_page=5&page=2")[2]["resources"][0]["name"] != second
    assert running.ask("capi-delete", kind="organizations", name="org-1")["count"] > 10
    assert {row["name"] for row in client.all("spaces")} == {"space-0", "space-2"}


def capi_rate_limit_and_tokens(work):
    running = Running({"capi": {"rate_limit": {"limit": 10, "seconds": 2}, "token_uses": 3}})
    client = Client(running)
    client.auditor()
    status, headers, _body = client.get("/v3/apps")
    assert status == 200 and headers["X-RateLimit-Limit"] == "10" and headers["X-RateLimit-Remaining"] == "9"
    assert [client.get("/v3/apps")[0] for _ in range(3)] == [200, 200, 401]
    codes = [client.get("/v3/apps") for _ in range(7)]
    status, headers, body = codes[-1]
    assert status == 429 and headers["Retry-After"] == headers["X-RateLimit-Reset"] and body["errors"][0]["code"] == 10013
    assert int(headers["Retry-After"]) > time.time()  # as the real one: the moment, not the time from now
    assert running.ask("capi")["most_refused"] == 1
    client.get("/v3/apps")
    assert running.ask("capi")["most_refused"] == 2
    time.sleep(2.1)
    assert client.get("/v3/apps")[0] == 401
    running.ask("fault", service="capi", action="status", status=503, path="/v3/spaces", times=1)
    client.auditor()
    assert [client.get("/v3/spaces")[0] for _ in range(2)] == [503, 200]


def capi_uaa_and_credhub_list(work):
    running = Running({"fixture": "ops", "tas": {"mysql": 1, "blobs": 5, "services": 0, "windows": False}})
    client = Client(running)
    client.auditor()
    base = running.ready["capi"]["uaa"]
    page = json.loads(client.call(base + "/Users?startIndex=3&count=2&attributes=id,userName")[2])
    assert page["totalResults"] == 8 and [set(row) for row in page["resources"]] == [{"id", "userName"}] * 2
    assert json.loads(client.call(base + "/oauth/clients?count=5000")[2])["itemsPerPage"] == 500
    director = running.ready["director"]["uaa"]
    assert client.login("bbr_client", "bbr=secret==", "grant_type=client_credentials", director) == 200
    assert client.call(director + "/Users")[0] == 403
    names = client.get("/api/v1/data?path=/", "credhub")
    assert names[0] == 200 and len(names[2]["credentials"]) == 4, names
    assert client.login("login", "uaa-login-password", "grant_type=password&username=admin&password=uaa-admin-password",
                        director) == 200
    assert json.loads(client.call(director + "/Users")[2])["totalResults"] == 3
    running.ask("credhub-names", add=["/new 2026-02-01T00:00:00Z"], remove=["/p-bosh/cf/uaa-jwt"])
    found = {one["name"] for one in client.get("/api/v1/data?path=/", "credhub")[2]["credentials"]}
    assert "/new" in found and "/p-bosh/cf/uaa-jwt" not in found


def capi_is_locked_saved_and_restored_with_tas(work):
    running = Running({"fixture": "tas", "tas": {"blobs": 3, "rows": 5, "cells": 1}, "capi": {"apps": 9}})
    client = Client(running)
    client.auditor()
    run = lambda instance, job, script, artifact="": running.ask(  # noqa: E731
        "run", instance=instance, script=f"mkdir -p /tmp/a; BBR_ARTIFACT_DIRECTORY=/tmp/a/ /var/vcap/jobs/{job}/bin/bbr/{script}")
    controllers = [key for key in running.ready["instances"] if "/cloud_controller/" in key]
    for key in controllers:
        assert client.get("/v3/apps")[0] == 200
        run(key, "cloud_controller_ng", "pre-backup-lock")
    status, headers, _body = client.get("/v3/apps")
    assert status == 404 and headers["X-Cf-Routererror"] == "unknown_route"
    for key in controllers:
        run(key, "cloud_controller_ng", "post-backup-unlock")
    mysql = next(key for key in running.ready["instances"] if "/mysql/" in key)
    assert run(mysql, "database-dump", "backup")["status"] == 0
    running.ask("capi-delete", kind="apps", name="app-1")
    assert len(client.all("apps")) == 8
    answer = run(mysql, "database-dump", "restore")
    assert answer["status"] == 0, answer
    time.sleep(0.3)
    assert len(client.all("apps")) == 9


CHECKS = [capi_pages_filters_and_refusals, capi_changes_cascade_and_pages_shift, capi_rate_limit_and_tokens,
          capi_uaa_and_credhub_list, capi_is_locked_saved_and_restored_with_tas]
