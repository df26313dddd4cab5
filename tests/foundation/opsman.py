"""The Operations Manager as its API's clients see it: states, tokens, roles, one call at a time.

Knows HTTP paths and what is refused when; what the calls answer is in opsman_read.py, opsman_staged.py,
opsman_install.py and opsman_export.py, what it all is about in opsman_model.py. Every refusal that a careful client
never meets is also a line in `violations`.
"""

import re
import threading
import time

from instance import FoundationError, free_port
from opsman_export import Export
from opsman_install import Install
from opsman_model import Model, Vm
from opsman_read import Read
from opsman_staged import Staged
from opsman_uaa import OpsUaa
from web import Answer, Service

WAITING = "<html><body>Waiting for authentication system to start...</body></html>"
BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>bad gateway</body></html>"
PARALLEL = ("error", "silent", "allow")
VIEW = ("opsman.admin", "opsman.full_control", "opsman.restricted_control", "opsman.full_view",
        "opsman.restricted_view")
SECRETS = ("opsman.admin", "opsman.full_control", "opsman.full_view")
CHANGE = ("opsman.admin", "opsman.full_control", "opsman.restricted_control")
FULL = ("opsman.admin", "opsman.full_control")
P = "/api/v0"
GUID = r"([A-Za-z0-9_.-]+)"
ROUTES = [  # method, path, who may, what answers; the first that fits
    ("GET", f"{P}/installation_asset_collection", FULL, "export"),
    ("DELETE", f"{P}/installation_asset_collection", FULL, "tear_down"),
    ("GET", f"{P}/installations", VIEW, "list_installations"),
    ("POST", f"{P}/installations", CHANGE, "apply_changes"),
    ("GET", rf"{P}/installations/(\d+)", VIEW, "one_installation"),
    ("GET", rf"{P}/installations/(\d+)/logs", VIEW, "installation_logs"),
    ("GET", f"{P}/staged/pending_changes", VIEW, "pending_changes"),
    ("DELETE", f"{P}/staged", CHANGE, "revert"),
    ("GET", f"{P}/deployed/products", VIEW, "deployed_products"),
    ("GET", f"{P}/deployed/products/{GUID}/status", VIEW, "status"),
    ("GET", f"{P}/deployed/products/{GUID}/static_ips", VIEW, "static_ips"),
    ("GET", f"{P}/deployed/products/{GUID}/manifest", SECRETS, "product_manifest"),
    ("GET", f"{P}/deployed/products/{GUID}/credentials", VIEW, "product_credentials"),
    ("GET", f"{P}/deployed/products/{GUID}/credentials/(.+)", SECRETS, "product_credential"),
    ("GET", f"{P}/deployed/products/{GUID}/uaa_client_credentials", SECRETS, "team_client"),
    ("GET", f"{P}/deployed/director/credentials", VIEW, "director_credentials"),
    ("GET", f"{P}/deployed/director/credentials/(.+)", SECRETS, "director_credential"),
    ("GET", f"{P}/deployed/director/manifest", SECRETS, "director_manifest"),
    ("GET", f"{P}/deployed/certificates", VIEW, "certificates"),
    ("GET", f"{P}/certificate_authorities", VIEW, "certificate_authorities"),
    ("GET", f"{P}/security/root_ca_certificate", VIEW, "root_ca"),
    ("GET", f"{P}/diagnostic_report", VIEW, "diagnostic_report"),
    ("GET", f"{P}/stemcell_associations", VIEW, "stemcell_associations"),
    ("POST", f"{P}/stemcells", CHANGE, "upload_stemcell"),
    ("GET", f"{P}/staged/products", VIEW, "staged_products"),
    ("GET", f"{P}/staged/products/{GUID}/properties", VIEW, "properties"),
    ("PUT", f"{P}/staged/products/{GUID}/properties", CHANGE, "put_properties"),
    ("GET", f"{P}/staged/products/{GUID}/networks_and_azs", VIEW, "product_networks"),
    ("GET", f"{P}/staged/products/{GUID}/syslog_configuration", VIEW, "syslog"),
    ("GET", f"{P}/staged/products/{GUID}/manifest", SECRETS, "staged_manifest"),
    ("GET", f"{P}/products/{GUID}/diff", VIEW, "product_diff"),
    ("GET", f"{P}/director/diff", VIEW, "director_diff"),
    ("GET", f"{P}/available_products", VIEW, "available_products"),
    ("GET", f"{P}/staged/products/{GUID}/jobs", VIEW, "jobs"),
    ("GET", f"{P}/staged/products/{GUID}/jobs/{GUID}/resource_config", VIEW, "resource_config"),
    ("PUT", f"{P}/staged/products/{GUID}/jobs/{GUID}/resource_config", CHANGE, "put_resource_config"),
    ("GET", f"{P}/staged/products/{GUID}/errands", VIEW, "errands"),
    ("PUT", f"{P}/staged/products/{GUID}/errands", CHANGE, "put_errands"),
    ("GET", f"{P}/staged/products/{GUID}/max_in_flight", VIEW, "max_in_flight"),
    ("GET", f"{P}/staged/products/{GUID}/pre_deploy_check", VIEW, "product_check"),
    ("GET", f"{P}/staged/products/{GUID}/verifiers/install_time", VIEW, "product_verifiers"),
    ("PUT", f"{P}/staged/products/{GUID}/verifiers/install_time/{GUID}", CHANGE, "put_product_verifier"),
    ("GET", f"{P}/staged/director/pre_deploy_check", VIEW, "director_check"),
    ("GET", f"{P}/staged/director/verifiers/install_time", VIEW, "director_verifiers"),
    ("PUT", f"{P}/staged/director/verifiers/install_time/{GUID}", CHANGE, "put_director_verifier"),
    ("GET", f"{P}/staged/director/{GUID}", VIEW, "director_section"),
    ("PUT", f"{P}/staged/director/{GUID}", CHANGE, "put_director_section"),
    ("GET", f"{P}/staged/infrastructure/locked", VIEW, "infrastructure"),
    ("PUT", f"{P}/staged/infrastructure/locked", CHANGE, "put_infrastructure"),
    ("GET", f"{P}/staged/vm_extensions", VIEW, "vm_extensions"),
    ("GET", f"{P}/vm_types", VIEW, "vm_types"),
]


class OpsManager(Export, Install, Read, Staged, Service):
    """States: fresh, starting, ready, locked, half (an import that failed). `starting` lasts as many looks at
    /login/ensure_availability as the spec's `startup` says."""

    name = "opsman"

    def __init__(self, authority, spec, foundation):
        self.spec, self.foundation = spec, foundation
        self.vm = Vm(foundation)
        self.state = "fresh" if spec.get("state") == "fresh" else "starting"
        self.model = None
        self.uaa = OpsUaa(spec)
        self.lock = threading.RLock()
        self.busy = None
        self.violations, self.disasters = [], []
        self.startup = []
        self.fail_next = None
        self.parallel = spec.get("parallel", "error")
        self.latency = spec.get("latency", 0.01)
        self.begin_installations()
        super().__init__(authority, spec.get("port") or free_port())

    def set_up(self):
        """After the foundation stands: what is described becomes the installation, unless the VM is to be fresh."""
        self.vm.prepare()
        if self.state != "fresh":
            self.model = Model.from_spec(self.spec, self.foundation)
            self.write_workspace()
            self.state = self.spec.get("state", "ready")
            self.begin_history()

    # -- what a request meets, from outside to inside ------------------------------------------------

    def begin(self, request):
        request.crossed = None
        if not request.path.startswith(P) or request.path.startswith(f"{P}/info"):
            return
        with self.lock:
            if self.busy is None or self.parallel == "allow":
                self.busy = request
                return
            request.crossed = f"{self.busy.command} {self.busy.path}"
            self.violation("parallel", request, f"while {request.crossed} was being answered")

    def done(self, request):
        with self.lock:
            if self.busy is request:
                self.busy = None

    def violation(self, kind, request, text=""):
        self.violations.append({"us": time.time_ns() // 1000, "kind": kind, "method": request.command,
                                "path": request.path, "text": text})

    def answer(self, request):
        if request.route == "/login/ensure_availability":
            return self.availability()
        if self.startup:
            return Answer(502, BAD_GATEWAY, "text/html")
        if request.route == f"{P}/info":
            return Answer.json({"info": self.info()})
        if request.crossed:
            if self.parallel == "error":
                return Answer.json({"errors": {"base": ["another request is being processed"]}}, 503)
            if request.command != "GET":
                return Answer.json({})  # the failure that nobody is told of
        time.sleep(self.latency)
        if request.route == "/uaa/oauth/token" and request.command == "POST":
            return self.token(request)
        if request.route.startswith(P):
            return self.api(request)
        return Answer(302, "", headers={"Location": f"{self.url}/{'setup' if self.state == 'fresh' else 'auth'}"})

    def info(self):
        version = (self.model.data if self.model else self.spec).get("version", "3.0.24-build.1")
        if self.spec.get("info") == "old":
            return {"version": version}
        return {"version": version, "locked": self.state == "locked",
                "setup_complete": self.state in ("ready", "locked")}

    def availability(self):
        with self.lock:
            if self.startup:
                step = self.startup.pop(0)
                if not self.startup and self.state == "starting":
                    self.state = "ready"
                return Answer(502, BAD_GATEWAY, "text/html") if step == "bad" else Answer(200, WAITING, "text/html")
            if self.state == "fresh":
                return Answer(302, "", headers={"Location": f"{self.url}/setup"})
            if self.state == "half" or self.state == "locked" and self.spec.get("locked_as") != "unlock":
                return Answer(200, WAITING, "text/html")
            place = "unlock" if self.state == "locked" else "auth/cloudfoundry"
            return Answer(302, "", headers={"Location": f"{self.url}/{place}"})

    def come_up(self):
        """`starting` from now on, for as many looks as `startup` says; then ready."""
        given = {"bad_gateway": 0, "waiting": 1, **self.spec.get("startup", {})}
        with self.lock:
            self.startup = ["bad"] * given["bad_gateway"] + ["waiting"] * given["waiting"]
            self.state = "starting" if self.startup else "ready"
        self.refuse(given.get("refused_seconds", 0))

    def refuse(self, seconds):
        """No listener for a while, as when the web server starts again."""
        if seconds:
            self.pause_listening(seconds)

    def token(self, request):
        if self.state == "fresh":
            return Answer(302, "", headers={"Location": f"{self.url}/setup"})
        if self.state != "ready":
            return Answer(502, BAD_GATEWAY, "text/html")
        return self.uaa.token(request, self.model)

    def api(self, request):
        call = (request.command, request.route)
        if call == ("PUT", f"{P}/unlock"):
            return self.unlock(request)
        if call == ("POST", f"{P}/setup"):
            return self.setup(request)
        if call == ("POST", f"{P}/installation_asset_collection"):
            return self.import_installation(request)
        if self.state == "fresh":
            self.violation("before-setup", request)
            if call == ("GET", f"{P}/installation_asset_collection"):
                return Answer.json({"errors": {"base": ["Ops Manager setup is not complete"]}}, 400)
            return Answer.json({"error": "unauthorized"}, 401)
        who = self.uaa.who(request.headers.get("Authorization")) if self.state == "ready" else None
        request.entry["authorized"] = who is not None
        if who is None:
            return Answer.json({"error": "invalid_token", "error_description": "the token is missing or expired"}, 401,
                               {"WWW-Authenticate": 'Bearer realm="OpsManager"'})
        request.user = who["name"]
        for method, pattern, allowed, name in ROUTES:
            found = re.fullmatch(pattern, request.route) if method == request.command else None
            if found:
                if not set(allowed) & set(who["scopes"]):
                    return Answer.json({"error": "access_denied", "error_description": "insufficient scope"}, 403)
                with self.lock:
                    return getattr(self, name)(request, *found.groups())
        return Answer.json({"errors": {"base": ["not found"]}}, 404)

    # -- before there is anybody who could log in ------------------------------------------------------

    def unlock(self, request):
        passphrase = request.json_object().get("passphrase")
        if self.model is None or not self.model.fits(passphrase):
            return Answer.json({"errors": {"passphrase": ["is invalid"]}}, 403)
        if self.state == "locked":
            self.come_up()
        return Answer.json({})

    def setup(self, request):
        if self.state != "fresh":
            self.violation("setup-again", request)
            return Answer.json({"errors": {"base": ["Ops Manager has already been set up"]}}, 422)
        given, errors = request.json_object().get("setup") or {}, {}
        for name in ("admin_password", "decryption_passphrase"):
            internal = given.get("identity_provider") == "internal"
            if (internal or name != "admin_password") and not given.get(name):
                errors[name] = ["can't be blank"]
            elif given.get(name) != given.get(f"{name}_confirmation"):
                errors[f"{name}_confirmation"] = [f"doesn't match {name}"]
        if given.get("identity_provider") not in ("internal", "saml", "ldap", "oidc"):
            errors["identity_provider"] = ["is not included in the list"]
        if str(given.get("eula_accepted")).lower() != "true":
            errors["eula_accepted"] = ["must be accepted"]
        if errors:
            return Answer.json({"errors": errors}, 422)
        self.model = Model.empty(self.spec, given)
        self.write_workspace()
        self.come_up()
        return Answer.json({})

    # -- for the control socket ---------------------------------------------------------------------------

    def reboot(self, refused_seconds=0):
        """The VM starts again: tokens are forgotten, and nothing works until it is unlocked."""
        if self.model is None:
            raise FoundationError("an Ops Manager that is not set up has nothing to lock")
        with self.lock:
            self.uaa.expire_tokens()
            self.startup, self.state = [], "locked"
        self.refuse(refused_seconds)

    def renew(self):
        """A new VM from the image: a new host key, nothing of ours on its disk, nothing set up."""
        if self.running():
            raise FoundationError("an Apply Changes still runs")
        machine = self.foundation.instances["opsman"]
        with self.lock:
            self.uaa.expire_tokens()
            self.startup, self.state, self.model, self.busy = [], "fresh", None, None
            self.begin_installations()
            machine.execute(["/bin/bash", "-c", "rm -rf /var/tempest /var/lib/lifeboat"])
            self.vm.prepare()
        return machine.rotate_host_key()

    def describe(self):
        ssh = self.foundation.instances["opsman"]
        about = {"url": self.url, "state": self.state, "uaa": f"{self.url}/uaa",
                 "ssh": {"address": f"127.0.0.1:{ssh.port}", "username": "ubuntu",
                         "private_key_file": self.foundation.keys["opsman"], "host_public_key": ssh.host_public_key}}
        if self.model:
            user = next(iter(self.model.data["users"]), {})
            client = next(iter(self.model.data["clients"]), {})
            about.update(username=user.get("username"), password=user.get("password"),
                         client_id=client.get("client_id"), client_secret=client.get("client_secret"),
                         decryption_passphrase=self.model.passphrase,
                         products={product["type"]: product["guid"] for product in self.model.products()})
        return about

