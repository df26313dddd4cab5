"""Checks of Apply Changes where it makes and destroys: a second, empty foundation, and a shared IaaS."""

import base64
import glob
import json
import os
import re
import ssl
import subprocess
import urllib.request

from opsclient import OpsClient
from running import Running, ssh
from selftest_bbr import Bbr
from selftest_om import Om, ops
from selftest_opsstates import STATE, until_up, violations, wait_install


def imported(origin, **spec):
    """A fresh Ops Manager with the installation of the first in it; (foundation, client)."""
    first = OpsClient(origin.ready)
    assert first.login() == 200
    whole = first.call("GET", "/api/v0/installation_asset_collection")[2]
    running = Running({"opsman": {"state": "fresh"}, **spec})
    client = OpsClient(running.ready)
    about = origin.ready["opsman"]
    assert client.import_zip(whole, about["decryption_passphrase"])[0] == 200
    until_up(client)
    assert client.login(about["username"], about["password"]) == 200
    return running, client


def without_state(running):
    vm = running.ready["opsman"]["ssh"]
    done = ssh(vm["address"], vm["username"], vm["private_key_file"], f"sudo rm {STATE}")
    assert done[0] == 0, done


def director_call(client, path):
    """A call with what Ops Manager tells of the director: address, ops_manager client, authorities."""
    line = client.get("/deployed/director/credentials/bosh_commandline_credentials")["credential"]
    words = dict(word.split("=", 1) for word in line.split() if "=" in word)
    authorities = client.get("/certificate_authorities")["certificate_authorities"]
    context = ssl.create_default_context(cadata="".join(one["cert_pem"] for one in authorities))

    def ask(url, authorization=None, body=None):
        request = urllib.request.Request(url, data=body)
        if authorization:
            request.add_header("Authorization", authorization)
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return json.load(answer)

    url = words["BOSH_ENVIRONMENT"]
    uaa = ask(f"{url}/info")["user_authentication"]["options"]["url"]
    pair = base64.b64encode(f"{words['BOSH_CLIENT']}:{words['BOSH_CLIENT_SECRET']}".encode()).decode()
    token = ask(f"{uaa}/oauth/token", f"Basic {pair}", b"grant_type=client_credentials")["access_token"]
    return ask(url + path, f"Bearer {token}")


def an_empty_foundation_gets_a_director(work):
    origin = ops()
    running, client = imported(origin)
    before = running.ask("opsman-state")["bosh_state"]["current_vm_cid"]
    without_state(running)
    guids = origin.ready["opsman"]["products"]
    assert wait_install(client, client.install(deploy_products="none", ignore_warnings=True)) == "succeeded"
    after = running.ask("opsman-state")["bosh_state"]["current_vm_cid"]
    assert after and after != before
    assert client.get(f"/deployed/products/{guids['p-bosh']}/status")["status"][0]["cid"] == after
    assert director_call(client, "/deployments") == []
    key = client.get("/deployed/director/credentials/bbr_ssh_credentials")["credential"]["value"]["private_key_pem"]
    with open(f"{work}/key", "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(key)
    address = client.get(f"/deployed/products/{guids['p-bosh']}/static_ips")[0]["ips"][0]
    assert address != origin.ready["hosts"]["bosh"]["address"]
    status, out, err = ssh(address, "bbr", f"{work}/key", "sudo sh -c 'ls /var/vcap/jobs/*/bin/bbr'")
    assert status == 0 and b"restore" in out, (status, out, err)
    assert wait_install(client, client.install(deploy_products="none")) == "succeeded"  # again: it is the same
    assert running.ask("opsman-state")["bosh_state"]["current_vm_cid"] == after
    number = client.install(deploy_products=[guids["cf"]])  # no release has come back yet
    assert wait_install(client, number) == "failed"
    without_state(running)
    assert wait_install(client, client.install(deploy_products="none")) == "failed"  # its address is in use
    assert running.ask("opsman-state")["disasters"] == [] and violations(running) == []
    assert len(director_call(logged_in(origin), "/deployments")) == len(origin.ready["director"]["deployments"])


def logged_in(running):
    client = OpsClient(running.ready)
    assert client.login() == 200
    return client


def a_shared_iaas_loses_the_first_director(work):
    origin = ops()
    running, client = imported(origin, iaas={"shared": origin.ready["control"]})
    host = origin.ready["hosts"]["bosh"]
    assert ssh(host["address"], host["username"], host["private_key_file"], "true")[0] == 0
    wait_install(client, client.install(deploy_products="none"))
    disasters = running.ask("opsman-state")["disasters"]
    assert len(disasters) == 1 and "another foundation" in disasters[0]["text"], disasters
    assert ssh(host["address"], host["username"], host["private_key_file"], "true")[0] == 255


def staged_counts_become_instances(work):
    running = ops()
    client = logged_in(running)
    guid = running.ready["opsman"]["products"]["cf"]
    job = next(one for one in client.get(f"/staged/products/{guid}/jobs")["jobs"] if one["name"] == "mysql")
    path = f"/staged/products/{guid}/jobs/{job['guid']}/resource_config"

    def mysqls():
        lines = client.get(f"/deployed/products/{guid}/status")["status"]
        return sum(line["job-name"] == "mysql" for line in lines)

    assert mysqls() == 3
    for count in (1, 3):
        assert client.status("PUT", path, {**client.get(path), "instances": count}) == 200
        assert mysqls() != count
        assert wait_install(client, client.install(deploy_products="none")) == "succeeded" and mysqls() != count
        number = client.install(deploy_products=[guid])
        assert wait_install(client, number) == "succeeded", client.get(f"/installations/{number}/logs")
        assert mysqls() == count
    assert violations(running) == []


def om_tears_down(program, work):
    running = ops()
    om = Om(program, running, work)
    assert running.ask("iaas")["vms"]
    om.run("delete-installation", "-f")
    left = running.ask("iaas")
    assert left["vms"] == {} and left["disks"] == {}, left
    assert om.read("deployed-products") == [] and om.read("installations")[0]["status"] == "succeeded"
    assert "o installation to delete" in om.run("delete-installation", "-f")
    assert "422" in om.run("export-installation", "-o", f"{work}/x.zip", status=1)


def a_teams_client_sees_its_own_deployments(bbr_program, work):
    """So bbr's --all-deployments works with it, and with no client that sees a deployment without scripts."""
    running = ops()
    client = logged_in(running)
    guid = running.ready["opsman"]["products"]["p-redis"]
    team = client.get(f"/deployed/products/{guid}/uaa_client_credentials")
    found = OpsBbr(bbr_program, work, running, team)
    found.must(0, "backup", every=True)
    assert found.artifacts() == ["service-instance_00000000-1111-4222-8333-444444444444"]
    assert found.deployment("pre-backup-check") != 0, "it is not the team's"
    OpsBbr(bbr_program, f"{work}", running, None).must(1, "pre-backup-check", every=True)


class OpsBbr(Bbr):
    """bbr with a client of Ops Manager's; without one, with the director's own."""

    def __init__(self, program, work, running, team):
        super().__init__(program, work, running, running.ready["opsman"]["products"]["cf"])
        if team:
            director = {**running.ready["director"], "client": team["uaa_client_name"],
                        "client_secret": team["uaa_client_secret"]}
            self.running = Ready({**running.ready, "director": director})

    def artifacts(self):
        return sorted(os.path.basename(path).rsplit("_", 1)[0] for path in glob.glob(f"{self.work}/*_20*Z"))


class Ready:
    def __init__(self, ready):
        self.ready = ready


def om_leads_bosh_to_the_director(om_program, bosh_program, work):
    running = Running({"fixture": "ops", "tas": {"windows": False, "services": 1},
                       "director": {"clients": {"ops_manager": "plain"}}})  # om cuts secrets at =
    lines = Om(om_program, running, work).run("bosh-env").replace("export ", "")
    env = {"PATH": os.environ["PATH"], "HOME": work, "BOSH_NON_INTERACTIVE": "true"}
    for name, quoted, plain in re.findall(r"^(BOSH_\w+)=(?:'([^']*)'|(.*))$", lines, re.MULTILINE):
        env[name] = quoted or plain
    done = subprocess.run([bosh_program, "deployments", "--json"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    names = [row["name"] for row in json.loads(done.stdout)["Tables"][0]["Rows"]]
    assert names == running.ready["director"]["deployments"]
    assert Om(om_program, running, work).run("bosh-env").count("BEGIN CERTIFICATE") == 2  # BOSH's and CredHub's


CHECKS = [an_empty_foundation_gets_a_director, a_shared_iaas_loses_the_first_director,
          staged_counts_become_instances]
OM_CHECKS = [om_tears_down]
BBR_CHECKS = [a_teams_client_sees_its_own_deployments]
OM_BOSH_CHECKS = [om_leads_bosh_to_the_director]
