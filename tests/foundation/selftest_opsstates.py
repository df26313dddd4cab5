"""Checks of the simulated Ops Manager that change its state: setup, unlock, export, import, Apply Changes."""

import io
import json
import threading
import time
import zipfile

from opsclient import OpsClient
from running import Running, ssh
from selftest_opsman import small

STATE = "/var/tempest/workspaces/default/deployments/bosh-state.json"
SETUP = {"identity_provider": "internal", "admin_user_name": "a", "admin_password": "p",
         "admin_password_confirmation": "p", "decryption_passphrase": "d", "decryption_passphrase_confirmation": "d",
         "eula_accepted": "true", "precreated_client_secret": "s"}


def fresh(**opsman):
    running = Running({"opsman": {"state": "fresh", **opsman}})
    return running, OpsClient(running.ready)


def until_up(client, first="/setup"):
    seen = []
    for _ in range(200):
        seen.append(client.available())
        if seen[-1] == "/auth/cloudfoundry":
            return [one for one, before in zip(seen, [None, *seen]) if one != before]
        time.sleep(0.02)
    raise AssertionError(f"the Ops Manager does not come up: {seen[-5:]}")


def wait_install(client, number):
    assert isinstance(number, int), number
    for _ in range(500):
        found = client.get(f"/installations/{number}")
        if found["status"] != "running":
            assert found["finished_at"], found
            return found["status"]
        time.sleep(0.02)
    raise AssertionError("the installation does not end")


def violations(running):
    return [one["kind"] for one in running.ask("opsman-violations", clear=True)["violations"]]


def a_fresh_one_can_only_be_set_up_or_imported_into(work):
    running, client = fresh(version="3.0.1-build.5", startup={"refused_seconds": 0.3, "waiting": 2, "bad_gateway": 1})
    assert client.available() == "/setup"
    info = json.loads(client.call("GET", "/api/v0/info", token=False)[2])["info"]
    assert info == {"version": "3.0.1-build.5", "locked": False, "setup_complete": False}, info
    assert client.call("POST", "/uaa/oauth/token")[0] == 302
    assert client.status("GET", "/installation_asset_collection") == 400
    assert client.status("GET", "/installations") == 401
    assert violations(running) == ["before-setup", "before-setup"]
    for wrong in ({"eula_accepted": "false"}, {"admin_password": "q"}, {"decryption_passphrase": ""},
                  {"identity_provider": "paper"}):
        assert client.status("POST", "/setup", {"setup": {**SETUP, **wrong}}) == 422, wrong
    assert client.available() == "/setup" and client.status("PUT", "/unlock", {"passphrase": "d"}) == 403
    assert client.status("POST", "/setup", {"setup": SETUP}) == 200
    assert until_up(client) == ["refused", "502", "waiting", "/auth/cloudfoundry"]
    assert client.login("a", "p") == 200 and client.login_client("precreated-client", "s") == 200
    assert client.status("POST", "/setup", {"setup": SETUP}) == 422 and violations(running) == ["setup-again"]
    assert client.get("/deployed/products") == [] and client.get("/installations")["installations"] == []
    assert client.status("GET", "/deployed/director/credentials") == 404
    assert client.status("GET", "/installation_asset_collection") == 422  # nothing has been deployed
    assert client.status("DELETE", "/installation_asset_collection", {"errands": {}}) == 410


def a_reboot_locks_it_until_the_passphrase_comes(work):
    running, client = small(passphrase='pass "phrase" \\')
    assert client.login_client() == 200
    running.ask("opsman-reboot", refused_seconds=0.3)
    words = {client.available() for _ in range(100) if time.sleep(0.01) is None}
    assert words == {"refused", "waiting"}, words
    assert json.loads(client.call("GET", "/api/v0/info")[2])["info"]["locked"] is True
    assert client.status("GET", "/installations") == 401 and client.login_client() == 502
    running.ask("opsman-set", info="old", locked_as="unlock")
    assert list(json.loads(client.call("GET", "/api/v0/info")[2])["info"]) == ["version"]
    assert client.available() == "/unlock"
    assert client.status("PUT", "/unlock", {"passphrase": "pass"}) == 403
    assert client.status("PUT", "/unlock", 'no "json') == 400
    assert client.status("PUT", "/unlock", {"passphrase": 'pass "phrase" \\'}) == 200
    assert client.login_client() == 502
    assert until_up(client) == ["waiting", "/auth/cloudfoundry"] and client.login_client() == 200
    assert client.status("PUT", "/unlock", {"passphrase": 'pass "phrase" \\'}) == 200  # it is open already
    assert client.status("GET", "/installations") == 200 and violations(running) == []


def calls_at_once_are_refused_or_lost(work):
    running, client = small(export={"seconds": 1})
    other = OpsClient(running.ready)
    assert client.login_client() == 200 and other.login_client() == 200
    put = ("PUT", "/staged/products/p-tile-1/properties", {"properties": {".properties.a": {"value": 2}}})

    def during_an_export(mode):
        running.ask("opsman-set", parallel=mode)
        running.ask("clear-requests", service="opsman")
        thread = threading.Thread(target=client.call, args=("GET", "/api/v0/installation_asset_collection"))
        thread.start()
        running.ask("wait-request", service="opsman", path="asset_collection")
        found = (other.status("GET", "/installations"), other.status(*put))
        assert thread.is_alive() and other.call("GET", "/api/v0/info")[0] == 200
        thread.join()
        return found, violations(running), other.get("/staged/products/p-tile-1/properties")["properties"][
            ".properties.a"]["value"]

    assert during_an_export("error") == ((503, 503), ["parallel", "parallel"], 1)
    assert during_an_export("silent") == ((200, 200), ["parallel", "parallel"], 1)
    assert during_an_export("allow") == ((200, 200), [], 2)


def an_export_is_a_sealed_zip_in_pieces(work):
    running, client = small(passphrase="secret words", export={"bytes": 300000})
    assert client.login_client() == 200
    status, headers, whole = client.call("GET", "/api/v0/installation_asset_collection")
    assert status == 200 and int(headers["Content-Length"]) == len(whole) > 300000
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None and archive.namelist()[0] == "installation.yml"
        names = archive.namelist()
        sealed = archive.read("installation.yml")
        state = json.loads(archive.read("deployments/bosh-state.json"))
    assert state == running.ask("opsman-state")["bosh_state"] and "metadata/p-tile.yml" in names
    assert not any("stemcell" in name or "release" in name for name in names)
    assert b"PRIVATE KEY" not in whole and b"o=p=s" not in sealed
    running.ask("opsman-set", export={"bytes": 300000, "chunked": True})
    status, headers, chunked = client.call("GET", "/api/v0/installation_asset_collection")
    assert "Content-Length" not in headers and zipfile.ZipFile(io.BytesIO(chunked)).testzip() is None
    running.ask("opsman-set", export={"truncate": 5000})
    short = client.call("GET", "/api/v0/installation_asset_collection")[2]
    assert len(short) == 5000 and not zipfile.is_zipfile(io.BytesIO(short))
    running.ask("opsman-set", export={"chunked": True})
    running.ask("fault", service="opsman", path="asset_collection", action="cut", bytes=20000, times=1)
    try:
        client.call("GET", "/api/v0/installation_asset_collection")
        raise AssertionError("an export that was cut arrived")
    except OSError as error:
        assert "IncompleteRead" in type(error).__name__ or isinstance(error, OSError)
    except Exception as error:  # noqa: BLE001 - http.client's own kind
        assert "IncompleteRead" in type(error).__name__, error
    running.ask("opsman-set", export={"status": 422})
    assert client.status("GET", "/installation_asset_collection") == 422
    running.ask("opsman-set", export={"while_applying": 422})
    running.ask("opsman-apply", hold=True)
    assert client.status("GET", "/installation_asset_collection") == 422
    running.ask("opsman-finish")
    assert client.status("GET", "/installation_asset_collection") == 200


def an_import_brings_everything_but_the_director(work):
    origin = Running({"fixture": "ops", "tas": {"services": 1, "windows": False}})
    client = OpsClient(origin.ready)
    assert client.login() == 200
    whole = client.call("GET", "/api/v0/installation_asset_collection")[2]
    passphrase = origin.ready["opsman"]["decryption_passphrase"]
    about = origin.ready["opsman"]
    for kind in ("call", "start-up"):
        running, other = fresh(wrong_passphrase=kind)
        assert other.import_zip(whole, "wrong")[0] == (422 if kind == "call" else 200)
        assert [other.available() for _ in range(5)] == ["waiting"] * 5 and other.login("admin", "x") != 200
        assert other.import_zip(whole, passphrase)[0] == 401 and violations(running) == ["import-after-setup"]
        assert running.ask("opsman-state")["state"] == "half"
        running.end()
    running, other = fresh(version="3.0.23-build.9")
    assert other.import_zip(whole, passphrase)[0] == 422  # an older Ops Manager takes no newer installation
    running.end()
    running, other = fresh()
    assert other.import_zip(whole[:-100], passphrase)[0] == 422
    assert other.import_zip(whole, passphrase, cut=True)[0] == 422
    assert other.call("POST", "/api/v0/installation_asset_collection", b"x")[0] == 422
    assert other.available() == "/setup"
    assert other.import_zip(whole, passphrase)[0] == 200
    assert until_up(other) == ["waiting", "/auth/cloudfoundry"]
    assert other.import_zip(whole, passphrase)[0] == 401
    assert other.login("admin", about["password"]) == 200
    assert other.import_zip(whole, passphrase)[0] == 422
    assert violations(running) == ["import-after-setup"] * 2
    assert {one["type"]: one["guid"] for one in other.get("/deployed/products")} == about["products"]
    assert other.get("/certificate_authorities") == client.get("/certificate_authorities")
    path = "/deployed/director/credentials/bbr_ssh_credentials"
    assert other.get(path) == client.get(path)
    assert other.get("/installations")["installations"] == []
    assert {one["action"] for one in other.get("/staged/pending_changes")["product_changes"]} == {"unchanged"}
    assert all(not one["present_on_disk"] for one in other.get("/stemcell_associations")["stemcell_library"])
    assert other.get(f"/deployed/products/{about['products']['cf']}/status")["status"] == []
    the_state_of_the_origins_director_is_in_the_way(origin, running, other)


def the_state_of_the_origins_director_is_in_the_way(origin, running, other):
    vm, state = running.ready["opsman"]["ssh"], running.ask("opsman-state")["bosh_state"]
    assert state == origin.ask("opsman-state")["bosh_state"] and state["current_vm_cid"]
    number = other.install(deploy_products="none", ignore_warnings=True)
    assert wait_install(other, number) == "failed"
    assert state["current_vm_cid"] in other.get(f"/installations/{number}/logs")["logs"]

    def shell(command):
        return ssh(vm["address"], vm["username"], vm["private_key_file"], command)

    assert shell(f"cat {STATE}")[0] != 0, "only root reads it"
    assert json.loads(shell(f"sudo cat {STATE}")[1]) == state
    assert shell(f"sudo mv {STATE} /home/ubuntu/bosh-state.json")[0] == 0
    assert running.ask("opsman-state")["bosh_state"] is None


def apply_changes_runs_alone(work):
    running, client = small(verifiers=[{"type": "IaasVerifier", "errors": ["no such cluster"]},
                                       {"product": "p-tile", "type": "Disk", "errors": ["x"], "ignorable": False}])
    assert client.login_client() == 200
    assert [one["status"] for one in client.get("/installations")["installations"]] == ["succeeded"]
    assert client.install(deploy_products=["p-tile-9"])[0] == 422 and client.install(deploy_products=3)[0] == 422
    assert client.install(deploy_products="none", errands={"p-tile-1": {"run_post_deploy": {"x": True}}})[0] == 422
    status, answer = client.install(deploy_products="all", ignore_warnings=True)
    assert status == 422 and list(answer["deployment_errors"]) == ["p-tile-1"], answer
    assert client.install(deploy_products="none")[0] == 422
    assert wait_install(client, client.install(deploy_products="none", ignore_warnings="true")) == "succeeded"
    assert client.get("/staged/director/pre_deploy_check")["pre_deploy_check"]["verifiers"][0]["ignorable"]
    assert not client.get("/staged/products/p-tile-1/pre_deploy_check")["pre_deploy_check"]["complete"]
    off = ("PUT", "/staged/{}/verifiers/install_time/{}", {"enabled": False})
    assert client.status(off[0], off[1].format("director", "IaasVerifier"), off[2]) == 200
    assert client.status(off[0], off[1].format("products/p-tile-1", "Disk"), off[2]) == 200
    assert client.status(off[0], off[1].format("director", "Other"), off[2]) == 404
    number = running.ask("opsman-apply", user="eve", hold=True)["id"]
    newest = client.get("/installations")["installations"][0]
    assert (newest["id"], newest["user_name"], newest["status"], newest["finished_at"]) == (
        number, "eve", "running", None) and newest["updates"]
    assert client.install(deploy_products="none")[0] == 422
    assert client.status("DELETE", "/installation_asset_collection", {"errands": {}}) == 422
    running.ask("opsman-finish")
    assert client.get(f"/installations/{number}")["status"] == "succeeded"
    number = client.install(deploy_products="all", errands={"p-tile-1": {"run_post_deploy": {"smoke": True}}})
    assert wait_install(client, number) == "succeeded"
    log = client.get(f"/installations/{number}/logs")["logs"]
    assert "create-env" in log and client.status("GET", "/installations/99") == 404
    running.ask("opsman-fail", at="p-tile", message="the tile is broken")
    number = client.install(deploy_products=["p-tile-1"])
    assert wait_install(client, number) == "failed"
    assert "the tile is broken" in client.get(f"/installations/{number}/logs")["logs"]
    assert len(client.get("/installations?per_page=2&page_num=2")["installations"]) == 2
    assert client.install(deploy_products="none") == number + 1


def what_is_staged_is_pending_until_applied(work):
    running, client = small()
    assert client.login_client() == 200
    tile = "/staged/products/p-tile-1"

    def actions():
        return [one["action"] for one in client.get("/staged/pending_changes")["product_changes"]]

    assert actions() == ["unchanged", "unchanged"] and client.status("DELETE", "/staged") == 304
    assert client.status("PUT", f"{tile}/properties", {"properties": {".x": {"value": 1}}}) == 422
    assert client.status("PUT", f"{tile}/properties", {"properties": {".properties.a": {"value": 5}}}) == 200
    assert actions() == ["unchanged", "update"] and client.status("DELETE", "/staged") == 204
    assert client.get(f"{tile}/properties")["properties"][".properties.a"]["value"] == 1
    job = client.get(f"{tile}/jobs")["jobs"][0]
    path = f"{tile}/jobs/{job['guid']}/resource_config"
    config = client.get(path)
    assert job["name"] == "server" and config["instances"] == 2
    assert client.status("PUT", path, config) == 200 and actions() == ["unchanged", "unchanged"]
    assert client.status("PUT", path, {**config, "instances": "many"}) == 422
    assert client.status("PUT", path, {**config, "instances": 1}) == 200 and actions() == ["unchanged", "update"]
    assert client.get(path)["instances"] == 1
    assert wait_install(client, client.install(deploy_products=["p-tile-1"])) == "succeeded"
    assert actions() == ["unchanged", "unchanged"] and client.get(path)["instances"] == 1
    networks = client.get("/staged/director/networks")
    assert client.get("/staged/infrastructure/locked") == {"locked": True}
    assert client.status("PUT", "/staged/director/networks", networks) == 422
    assert client.status("PUT", "/staged/infrastructure/locked", {"locked": "perhaps"}) == 422
    assert client.status("PUT", "/staged/infrastructure/locked", {"locked": False}) == 200
    assert client.status("PUT", "/staged/director/networks", networks) == 200
    assert client.status("PUT", "/staged/director/properties", {"director_configuration": {
        "bosh_recreate_on_next_deploy": True}}) == 200 and actions() == ["update", "unchanged"]
    assert client.get("/staged/director/properties")["director_configuration"]["bosh_recreate_on_next_deploy"]
    assert client.status("PUT", f"{tile}/errands", {"errands": [{"name": "smoke", "post_deploy": False}]}) == 200
    assert client.status("PUT", f"{tile}/errands", {"errands": [{"name": "other"}]}) == 422
    assert client.get(f"{tile}/errands")["errands"] == [{"name": "smoke", "post_deploy": False}]
    mark = "b"
    body = (f'--{mark}\r\nContent-Disposition: form-data; name="stemcell[file]"; filename='
            f'"bosh-stemcell-1.600-vsphere-esxi-ubuntu-jammy-go_agent.tgz"\r\n\r\nx\r\n--{mark}--\r\n')
    kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    assert client.call("POST", "/api/v0/stemcells", body, kind)[0] == 200
    assert client.call("POST", "/api/v0/stemcells", body.replace("bosh-stemcell", "x"), kind)[0] == 422
    assert client.get("/diagnostic_report")["available_stemcells"][-1]["version"] == "1.600"
    assert violations(running) == []


def rotation_leaves_two_authorities(work):
    running, client = small(rotation=True)
    assert client.login_client() == 200
    old, new = client.get("/certificate_authorities")["certificate_authorities"]
    assert (old["active"], new["active"]) == (False, True) and old["cert_pem"] == running.ready["ca_cert"]
    assert client.get("/security/root_ca_certificate")["root_ca_certificate_pem"] == new["cert_pem"]


CHECKS = [a_fresh_one_can_only_be_set_up_or_imported_into, a_reboot_locks_it_until_the_passphrase_comes,
          calls_at_once_are_refused_or_lost, an_export_is_a_sealed_zip_in_pieces,
          an_import_brings_everything_but_the_director, apply_changes_runs_alone,
          what_is_staged_is_pending_until_applied, rotation_leaves_two_authorities]
