"""Checks of the simulated Ops Manager by the real om: where the two disagree, the simulator is wrong."""

import json
import os
import subprocess
import threading

from opsclient import OpsClient
from running import Running
from selftest_opsstates import fresh, violations

PLAIN = "a plain passphrase"  # om builds JSON by hand: no quotes


class Om:
    def __init__(self, program, running, work, client=False):
        about = running.ready["opsman"]
        self.program, self.work = program, work
        self.arguments = ["--target", about["url"].removeprefix("https://"), "--ca-cert", running.ready["ca_file"]]
        if client:
            self.arguments += ["--client-id", about["client_id"], "--client-secret", about["client_secret"]]
        elif "username" in about:
            self.arguments += ["--username", about["username"], "--password", about["password"]]

    def run(self, *command, status=0, passphrase=None):
        more = ["--decryption-passphrase", passphrase] if passphrase else []
        done = subprocess.run([self.program, *self.arguments, *more, *command], capture_output=True, text=True,
                              timeout=120, cwd=self.work, check=False,
                              env={"HOME": self.work, "PATH": os.environ["PATH"]})
        assert done.returncode == status, (command, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr if status else done.stdout

    def read(self, *command):
        return json.loads(self.run(*command, "--format", "json"))


def ops(**opsman):
    return Running({"fixture": "ops", "tas": {"windows": False, "services": 1},
                    "opsman": {"passphrase": PLAIN, **opsman}})


def om_reads_everything(program, work):
    running = ops()
    client = OpsClient(running.ready)
    assert client.login() == 200
    om = Om(program, running, work)
    products = [one["type"] for one in client.get("/deployed/products")]
    assert [one["name"] for one in om.read("deployed-products")] == products
    assert [one["name"] for one in om.read("staged-products")] == products
    assert [one["status"] for one in om.read("installations")] == ["succeeded"]
    assert {one["action"] for one in om.read("pending-changes")} == {"unchanged"}
    om.run("pending-changes", "--check")
    found = om.read("credentials", "-p", "cf", "-c", ".cloud_controller.db_encryption_credentials")
    assert found == {"identity": "db_encryption", "password": "cc-db-encryption-key"}, found
    assert ".uaa.admin_credentials" in om.read("credential-references", "-p", "cf")
    lines = om.run("bosh-env")
    assert "export BOSH_CLIENT=ops_manager\n" in lines and running.ready["director"]["url"] in lines
    authorities = om.read("certificate-authorities")
    assert authorities[0]["cert_pem"] == running.ready["ca_cert"] and authorities[0]["active"]
    assert om.run("certificate-authority", "--cert-pem").strip() == running.ready["ca_cert"].strip()
    text = om.run("staged-director-config", "--no-redact")
    assert "blobstore_type: local" in text and "cidr: 10.0.0.0/22" in text, text
    text = om.run("staged-config", "-p", "cf", "-c")
    assert "system_domain" in text and "planted-secret" in text, text
    assert "planted-secret" not in om.run("staged-config", "-p", "cf", "-r")
    report = json.loads(om.run("diagnostic-report"))
    assert report["versions"]["release_version"] == "3.0.24-build.1"
    assert "cf-" in om.run("deployed-manifest", "-p", "cf") and "cf-" in om.run("staged-manifest", "-p", "cf")
    assert "recreate-all-service-instances" in om.run("errands", "-p", "p-redis")
    om.run("expiring-certificates", "--expires-within", "1y")
    assert "p-bosh" in om.run("expiring-certificates", "--expires-within", "5y", status=1)
    assert "no changes" in om.run("bosh-diff", "--check")
    om.run("pre-deploy-check")
    assert json.loads(om.run("curl", "-s", "-p", "/api/v0/installations"))["installations"]
    assert len(Om(program, running, work, client=True).read("installations")) == 1
    running.ask("opsman-set", identity_provider="saml")
    assert "token could not be retrieved" in om.run("installations", status=1)
    running.ask("opsman-set", diagnostics="unavailable", identity_provider="internal")
    assert "currently unavailable" in om.run("diagnostic-report", status=1)
    assert violations(running) == []


def om_unlocks_and_configures(program, work):
    running = ops(startup={"waiting": 3})
    running.ask("opsman-reboot")
    om = Om(program, running, work)
    om.run("installations", status=1)
    assert "check if the decryption passphrase" in om.run("installations", status=1, passphrase="wrong")
    om.run("installations", passphrase=PLAIN)
    with open(f"{work}/cf.yml", "w") as file:
        json.dump({"product-name": "cf", "resource-config": {"mysql": {"instances": 1}}, "product-properties": {
            ".cloud_controller.system_domain": {"value": "other.example.com"}}}, file)
    om.run("configure-product", "-c", f"{work}/cf.yml")
    state = running.ask("opsman-state")["products"]["cf"]
    assert state["instances"]["mysql"] == 1 and state["changed"] == ["properties", "resources"], state
    assert "different" in om.run("bosh-diff", status=0) or "instances" in om.run("bosh-diff")
    om.run("pending-changes", "--check", status=1)
    assert "Changes reverted" in om.run("revert-staged-changes")
    assert running.ask("opsman-state")["products"]["cf"]["instances"]["mysql"] == 3
    stemcell = f"{work}/bosh-stemcell-1.700-vsphere-esxi-ubuntu-jammy-go_agent.tgz"
    with open(stemcell, "wb") as file:
        file.write(b"a stemcell" * 1000)
    om.run("upload-stemcell", "-s", stemcell)
    assert running.ask("opsman-state")["stemcells"][-1]["version"] == "1.700"
    assert "already been uploaded" in om.run("upload-stemcell", "-s", stemcell)
    assert violations(running) == []


def om_applies_changes(program, work):
    running = ops(verifiers=[{"type": "IaasVerifier", "errors": ["no such cluster"]}])
    om = Om(program, running, work)
    assert "no such cluster" in om.run("apply-changes", "--skip-deploy-products", status=1)
    assert "IaasVerifier" in om.run("pre-deploy-check", status=1)
    om.run("disable-director-verifiers", "--type", "IaasVerifier")
    assert "create-env" in om.run("apply-changes", "--skip-deploy-products")
    with open(f"{work}/errands.yml", "w") as file:
        json.dump({"errands": {"p-redis": {"run_post_deploy": {"register-broker": False}}}}, file)
    text = om.run("apply-changes", "-n", "p-redis", "-c", f"{work}/errands.yml")
    assert "deploy" in text and "run-errand register-broker" not in text, text
    assert "run-errand register-broker" in om.run("apply-changes", "-n", "p-redis")
    running.ask("opsman-fail", message="the IaaS said no")
    text = om.run("apply-changes", status=1)
    assert "the IaaS said no" in text and "installation was unsuccessful" in text, text
    running.ask("opsman-apply", hold=True)
    assert "already running" in om.run("apply-changes", status=1)
    number = om.read("installations")[0]["id"]
    timer = threading.Timer(1, running.ask, ["opsman-finish"])
    timer.start()
    assert "re-attaching" in om.run("apply-changes", "--reattach")
    timer.join()
    assert om.run("installation-log", "--id", str(number)).strip() == ""
    assert violations(running) == []


def om_exports_and_imports(program, work):
    running = ops(export={"bytes": 3000000})
    om = Om(program, running, work)
    om.run("export-installation", "-o", f"{work}/installation.zip")
    assert os.path.getsize(f"{work}/installation.zip") > 3000000
    assert "already configured" in om.run("import-installation", "-i", f"{work}/installation.zip", passphrase=PLAIN)
    running.ask("opsman-set", export={"status": 422})
    assert "422" in om.run("export-installation", "-o", f"{work}/second.zip", status=1)
    second, client = fresh(startup={"refused_seconds": 0.5, "waiting": 2})
    other = Om(program, second, work)
    text = other.run("import-installation", "-i", f"{work}/installation.zip", "-p", "1", passphrase=PLAIN)
    assert "finished import" in text, text
    other = Om(program, Same(second, running), work)
    assert [one["name"] for one in other.read("deployed-products")] == [
        one["name"] for one in om.read("deployed-products")]
    assert "does not exist" in other.run("apply-changes", "--skip-deploy-products", status=1)
    assert violations(second) == [] and violations(running) == []
    third, client = fresh(startup={"waiting": 2})
    Om(program, third, work).run("configure-authentication", "-u", "a", "-p", "b", "-d", "c")
    assert client.login("a", "b") == 200 and client.get("/deployed/products") == []


class Same:
    """The second Ops Manager with the users of the first, as after an import."""

    def __init__(self, second, first):
        about = {**first.ready["opsman"], "url": second.ready["opsman"]["url"]}
        self.ready = {"opsman": about, "ca_file": second.ready["ca_file"]}


CHECKS = [om_reads_everything, om_unlocks_and_configures, om_applies_changes, om_exports_and_imports]
