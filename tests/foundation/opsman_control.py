"""The control verbs about the Ops Manager; mixed into control.py's. README.md lists them."""

from instance import FoundationError
from spec import OPSMAN, check, merge


class OpsVerbs:
    def _opsman(self):
        if self.foundation.opsman is None:
            raise FoundationError("no opsman in this foundation")
        return self.foundation.opsman

    def do_opsman_state(self):
        """Everything a test may want to compare."""
        opsman = self._opsman()
        with opsman.lock:
            data = opsman.model.data if opsman.model else {"products": [], "director": None}
            return {"state": opsman.state, "starting": list(opsman.startup), "disasters": list(opsman.disasters),
                    "violations": list(opsman.violations), "bosh_state": opsman.vm.bosh_state(),
                    "installations": [one.to_json() for one in opsman.installations],
                    "products": {one["type"]: {"guid": one["guid"], "version": one["version"],
                                               "action": opsman.action(one), "changed": one["changed"],
                                               "instances": {name: job["resource_config"]["instances"]
                                                             for name, job in one["jobs"].items()}}
                                 for one in data["products"]},
                    "director": data["director"] and data["director"]["guid"],
                    "stemcells": data.get("stemcells", []),
                    "infrastructure_locked": data.get("infrastructure_locked")}

    def do_opsman_violations(self, clear=False):
        opsman = self._opsman()
        found = list(opsman.violations)
        if clear:
            opsman.violations.clear()
        return {"violations": found}

    def do_opsman_reboot(self, refused_seconds=0):
        self._opsman().reboot(refused_seconds)

    def do_opsman_renew(self):
        """The VM is deleted in the IaaS and made anew from its image: nobody has set it up."""
        return {"host_public_key": self._opsman().renew()}

    def do_opsman_refuse(self, seconds):
        """No listener for so long."""
        self._opsman().refuse(seconds)

    def do_opsman_apply(self, user="somebody", seconds=0, hold=False):
        return {"id": self._opsman().stranger(user, seconds, hold)}

    def do_opsman_finish(self):
        """The Apply Changes that is held ends."""
        opsman = self._opsman()
        running = opsman.running()
        opsman.release.set()
        if running and not running.over.wait(60):
            raise FoundationError(f"installation {running.number} does not end")

    def do_opsman_fail(self, at="director", message=None):
        """The next Apply Changes fails at `director`, `product` (the first), a type or a GUID."""
        self._opsman().fail_next = {"at": at, **({"message": message} if message else {})}

    def do_opsman_tokens(self, expire=False, seconds=None, uses=None):
        uaa = self._opsman().uaa
        if seconds is not None:
            uaa.token_seconds = seconds
        if uses is not None:
            uaa.token_uses = uses if uses >= 0 else None
        return {"expired": uaa.expire_tokens() if expire else 0}

    def do_opsman_set(self, **values):
        """Keys of the spec's `opsman` that matter while it runs: export, startup, info, verifiers, parallel, ….
        Users and clients too; identity_provider."""
        opsman = self._opsman()
        check(values, OPSMAN, "opsman")
        opsman.spec.update(values)
        opsman.parallel, opsman.latency = opsman.spec.get("parallel", "error"), opsman.spec.get("latency", 0.01)
        if opsman.model:
            for name in ("users", "clients"):
                if name in values:
                    opsman.model.data[name] = [{"role": "admin", **one} for one in values[name]]
            for name in ("identity_provider", "version"):
                if name in values:
                    opsman.model.data[name] = values[name]
            if "passphrase" in values:
                opsman.model.passphrase = values["passphrase"]

    def do_opsman_product(self, type, **values):
        """Change what is known of a product: `changed`, `action`, `version`, `properties`, …."""
        opsman = self._opsman()
        for one in opsman.model.products():
            if one["type"] == type:
                one.update(merge(one, values))
                return
        raise FoundationError(f"no product {type}")
