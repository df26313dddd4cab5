"""Checks of the simulated Ops Manager: every endpoint, and everything that it refuses."""

import json
import time

from opsclient import OpsClient
from running import Running

SMALL = {"hosts": [{"name": "bosh"}], "director": {
    "auth": "uaa", "client": "bbr_client", "secret": "b=b", "clients": {"ops_manager": "o=p=s"}},
    "opsman": {"products": [{"type": "p-tile", "guid": "p-tile-1", "jobs": {"server": 2},
                             "errands": [{"name": "smoke", "post_deploy": True}],
                             "properties": {".properties.a": 1}}]}}


def small(**opsman):
    running = Running({**SMALL, "opsman": {**SMALL["opsman"], **opsman}})
    return running, OpsClient(running.ready)


def tokens_and_roles(work):
    running, client = small(users=[{"username": "u", "password": "p"}] + [
        {"username": role, "password": role, "role": role} for role in (
            "full_control", "restricted_control", "full_view", "restricted_view")])
    assert client.status("GET", "/installations") == 401
    assert client.login("u", "wrong") == 401 and client.grant(("opsman", "x"), grant_type="password", username="u",
                                                              password="p")[0] == 401
    status, answer = client.grant(("opsman", ""), grant_type="password", username="u", password="p")
    assert status == 200 and set(answer) == {"access_token", "token_type", "expires_in", "scope", "jti"}, answer
    assert answer["scope"] == "opsman.admin" and answer["token_type"] == "bearer"
    assert client.grant(("opsman", ""), grant_type="implicit")[0] == 400
    assert client.login_client() == 200 and client.status("GET", "/installations") == 200
    assert running.ask("opsman-tokens", expire=True)["expired"] == 2
    assert client.status("GET", "/installations") == 401
    running.ask("opsman-tokens", seconds=0.2)
    assert client.login("u", "p") == 200 and client.status("GET", "/installations") == 200
    time.sleep(0.3)
    assert client.status("GET", "/installations") == 401
    running.ask("opsman-tokens", seconds=600, uses=1)
    assert client.login("u", "p") == 200
    assert [client.status("GET", "/installations") for _ in range(2)] == [200, 401]
    running.ask("opsman-tokens", uses=-1)
    credential, put = "/deployed/director/credentials/bbr_ssh_credentials", "/staged/products/p-tile-1/properties"
    for role, expected in (("u", (200, 200, 200, 200)), ("full_control", (200, 200, 200, 200)),
                           ("restricted_control", (200, 403, 403, 200)), ("full_view", (200, 200, 403, 403)),
                           ("restricted_view", (200, 403, 403, 403))):
        assert client.login(role, "p" if role == "u" else role) == 200
        found = (client.status("GET", "/deployed/products"), client.status("GET", credential),
                 client.status("GET", "/installation_asset_collection"),
                 client.status("PUT", put, {"properties": {".properties.a": {"value": 2}}}))
        assert found == expected, (role, found)
    running.ask("opsman-set", identity_provider="saml")
    assert client.login("u", "p") == 401 and client.login_client() == 200


def what_is_deployed_can_be_read(work):
    running = Running({"fixture": "ops"})
    client = OpsClient(running.ready)
    info = json.loads(client.call("GET", "/api/v0/info", token=False)[2])["info"]
    assert info == {"version": "3.0.24-build.1", "locked": False, "setup_complete": True}, info
    assert client.available() == "/auth/cloudfoundry" and client.login() == 200
    listed = client.get("/deployed/products")
    guids = {one["type"]: one["guid"] for one in listed}
    assert guids == running.ready["opsman"]["products"] and listed[0]["type"] == "p-bosh"
    assert set(guids.values()) - {guids["p-bosh"]} <= set(running.ready["director"]["deployments"])
    assert all(one["installation_name"] == one["guid"] and one["product_version"] for one in listed)
    assert [one["guid"] for one in client.get("/staged/products")] == [one["guid"] for one in listed]
    director = f"/deployed/products/{guids['p-bosh']}"
    host = running.ready["hosts"]["bosh"]["address"]
    assert client.get(f"{director}/static_ips") == [{"name": "director-z1", "ips": [host]}]
    cid = running.ask("opsman-state")["bosh_state"]["current_vm_cid"]
    assert client.get(f"{director}/status")["status"][0]["cid"] == cid
    lines = client.get(f"/deployed/products/{guids['cf']}/status")["status"]
    assert {"mysql", "backup_restore"} <= {line["job-name"] for line in lines} and "persistent_disk" in lines[0]
    assert client.get(f"/deployed/products/{guids['cf']}/static_ips")[0]["ips"]
    manifest = client.get(f"/deployed/products/{guids['cf']}/manifest")
    assert manifest["name"] == guids["cf"] and manifest["instance_groups"]
    names = client.get(f"/deployed/products/{guids['cf']}/credentials")["credentials"]
    one = client.get(f"/deployed/products/{guids['cf']}/credentials/{names[0]}")["credential"]
    assert names[0] == ".cloud_controller.db_encryption_credentials" and one["value"]["password"], one
    team = client.get(f"/deployed/products/{guids['p-redis']}/uaa_client_credentials")
    assert team["uaa_client_name"] == "p-redis-team", team
    for path in ("products/x/status", f"products/{guids['cf']}/uaa_client_credentials",
                 f"products/{guids['cf']}/credentials/.x", "director/credentials/x"):
        assert client.status("GET", f"/deployed/{path}") == 404, path
    the_director_is_described(running, client)
    certificates_and_stemcells(client)
    assert running.ask("opsman-violations")["violations"] == []


def the_director_is_described(running, client):
    names = client.get("/deployed/director/credentials")["credential_ids"]
    assert {"bbr_ssh_credentials", "uaa_bbr_client_credentials", "director_credentials",
            "bosh_commandline_credentials"} <= set(names), names

    def credential(name):
        return client.get(f"/deployed/director/credentials/{name}")["credential"]

    key = credential("bbr_ssh_credentials")
    assert key["type"] == "rsa_pkey_credentials" and "RSA PRIVATE KEY" in key["value"]["private_key_pem"]
    with open(running.ready["hosts"]["bosh"]["private_key_file"]) as file:
        assert file.read() == key["value"]["private_key_pem"]
    assert credential("uaa_bbr_client_credentials")["value"] == {"identity": "bbr_client", "password": "bbr=secret=="}
    assert credential("director_credentials")["value"]["identity"] == "director"
    line = credential("bosh_commandline_credentials")
    words = dict(word.split("=", 1) for word in line.split() if "=" in word)
    assert words["BOSH_CLIENT"] == "ops_manager" and words["BOSH_CLIENT_SECRET"] == "ops=manager=secret=", line
    assert running.ready["director"]["url"] == words["BOSH_ENVIRONMENT"], line
    assert client.get("/deployed/director/manifest")["instance_groups"][0]["name"] == "bosh"
    running.ask("opsman-set", director_manifest="wrapped")
    assert "manifest" in client.get("/deployed/director/manifest")
    found = client.get("/staged/director/properties")["director_configuration"]
    assert (found["database_type"], found["blobstore_type"]) == ("internal", "local")
    assert client.get("/staged/director/networks")["networks"][0]["subnets"][0]["cidr"] == "10.0.0.0/22"
    assert client.get("/staged/director/availability_zones")["availability_zones"][0]["name"] == "z1"
    assert client.get("/staged/director/iaas_configurations")["iaas_configurations"][0]["name"] == "default"
    assert client.get("/staged/director/network_and_az")["network_and_az"]


def certificates_and_stemcells(client):
    found = client.get("/certificate_authorities")["certificate_authorities"]
    assert len(found) == 1 and "key_pem" not in found[0]
    assert client.get("/security/root_ca_certificate")["root_ca_certificate_pem"] == found[0]["cert_pem"]
    assert len(client.get("/deployed/certificates")["certificates"]) == 2
    assert client.get("/deployed/certificates?expires_within=3m")["certificates"] == []
    assert len(client.get("/deployed/certificates?expires_within=2y")["certificates"]) == 1
    assert client.status("GET", "/deployed/certificates?expires_within=soon") == 422
    found = client.get("/stemcell_associations")
    assert found["products"][0]["staged_stemcells"] and found["stemcell_library"][0]["present_on_disk"]
    report = client.get("/diagnostic_report")
    assert {one["name"] for one in report["added_products"]["deployed"]} >= {"cf", "p-bosh"}
    assert report["available_stemcells"][0]["os"] == "ubuntu-jammy" and report["infrastructure_type"] == "vsphere"


def wrong_descriptions_of_it_are_refused_by_name(work):
    for opsman, word in (({"produkts": []}, "produkts"), ({"products": [{"type": "x", "gid": 1}]}, "gid"),
                         ({"adjust": {"p-none": {}}}, "p-none"), ({"director": {"hots": "b"}}, "hots"),
                         ({"director": {"host": "other"}}, "other")):
        try:
            Running({**SMALL, "opsman": opsman})
            raise AssertionError(f"{opsman} was taken")
        except RuntimeError as error:
            assert word in str(error), error


def an_old_foundation_has_no_client_for_bbr(work):
    running = Running({"hosts": [{"name": "bosh"}], "director": {"username": "u", "password": "p=w"}, "opsman": {
        "info": "old", "director_manifest": "jobs", "state": "locked"}})
    client = OpsClient(running.ready)
    assert client.login() == 502 and client.available() == "waiting"
    assert client.status("PUT", "/unlock", {"passphrase": running.ready["opsman"]["decryption_passphrase"]}) == 200
    assert [client.available() for _ in range(2)] == ["waiting", "/auth/cloudfoundry"] and client.login() == 200
    assert client.status("GET", "/deployed/director/credentials/uaa_bbr_client_credentials") == 404
    line = client.get("/deployed/director/credentials/bosh_commandline_credentials")["credential"]
    assert "BOSH_CLIENT=u BOSH_CLIENT_SECRET=p=w " in line, line
    assert client.get("/deployed/director/manifest")["jobs"][0]["properties"]["director"]["address"] == "127.0.0.1"
    assert set(client.get("/deployed/products")[0]) == {"installation_name", "guid", "type", "product_version"}
    assert client.status("DELETE", "/staged") == 404


CHECKS = [wrong_descriptions_of_it_are_refused_by_name, an_old_foundation_has_no_client_for_bbr,
          tokens_and_roles, what_is_deployed_can_be_read]
