"""Who is compared. Each backs up one deployment twice and restores it, with its results on the same S3 server."""

import json
import os
import re
import subprocess

from measure import Step, output, upload_time
from scratch import program
from workloads import clear

PASSWORD = "of the scratch repository"


class Contender:
    """Its own directory on the worker, and an empty bucket, for each run. `version` is None when it cannot take part."""

    name = title = version = missing = None
    not_in = ()  # workloads that have nothing to say about it
    stages = False  # whether it can keep a standby ahead of a restore

    def __init__(self, world, programs):
        self.world, self.programs = world, programs

    def begin(self, workload):
        """What is made once and not measured."""
        self.deployment = workload.name
        self.place = os.path.join(self.world.scratch, "worker")
        self.end()
        os.makedirs(self.place)
        self.world.empty_store()
        for instance in self.world.instances(workload.name):
            # What a run that failed left behind.
            clear(os.path.join(instance["root"], "var/vcap/store/bbr-backup"))

    def end(self):
        clear(os.path.join(self.world.scratch, "worker"))

    def step(self, act):
        with Step(self.world, self.place) as step:
            act(step)
        return step.found


class Lifeboat(Contender):
    name, title, stages = "lifeboat", "Lifeboat", True

    def __init__(self, world, programs):
        super().__init__(world, programs)
        self.program = os.path.join(programs, "lifeboat")
        self.version = output(self.program, "--version").strip() or "lifeboat"
        self.commands = ["lifeboat backup deployment/NAME", "lifeboat restore deployment/NAME latest", "lifeboat stage deployment/NAME latest"]

    def begin(self, workload):
        super().begin(workload)
        keys = os.path.join(self.world.scratch, "keys")
        clear(keys)
        subprocess.run([self.program, "keygen", "--out-dir", keys], check=True, stdout=subprocess.DEVNULL)

        def text(name):
            with open(os.path.join(keys, name)) as file:
                return file.read()

        store, director = self.world.store, self.world.director
        recovery = text("recovery_identity")
        self.configuration = json.dumps({
            "foundation": "bench", "confirm_target": "bench",
            "stores": [{"name": "s3", "bucket": store["buckets"][0], "endpoint": store["direct_endpoint"],
                        "region": store["region"], "access_key_id": store["access_key_id"],
                        "secret_access_key": store["secret_access_key"], "use_path_style": True}],
            "recipients": [re.search(r"age1[0-9a-z]+", recovery).group()],
            "trusted_workers": [text("worker_identity.pub").strip()],
            "worker_identity": text("worker_identity"), "recovery_identity": recovery,
            "bosh": {"environment": director["url"], "client": director["client"],
                     "client_secret": director["client_secret"], "ca_cert": self.world.ready["ca_cert"]}})

    def run(self, *arguments):
        """What it cost, and how long it moved artifacts onto instances, by its own log: the phase between check and lock."""
        said = []
        found = self.step(lambda step: said.append(step.run([self.program, *arguments], LIFEBOAT_CONFIG=self.configuration)))
        return {**found, "transfer": upload_time(said[0])}

    def backup(self):
        return self.run("backup", f"deployment/{self.deployment}")

    def restore(self):
        return self.run("restore", f"deployment/{self.deployment}", "latest")

    def stage(self):
        return self.run("stage", f"deployment/{self.deployment}", "latest")


class WithBbr(Contender):
    """What the real bbr leaves on the worker's disk goes on from there."""

    def __init__(self, world, programs):
        super().__init__(world, programs)
        self.bbr_program = program("bbr")
        self.needs = {"bbr": self.bbr_program, **{name: program(name) for name in self.tools}}
        absent = [name for name, found in self.needs.items() if not found]
        if absent:
            self.missing = f"{', '.join(absent)}: not on PATH nor in target/tools/bin ($BBR names a release of bbr; `ci/bench --setup` installs the rest)"
        else:
            self.version = self.versions()

    def begin(self, workload):
        super().begin(workload)
        self.artifact = os.path.join(self.place, "artifact")

    def bbr(self, step, action):
        director = self.world.director
        step.run([self.bbr_program, "deployment", "--target", director["url"], "--username", director["client"],
                  "--password", director["client_secret"], "--ca-cert", self.world.ready["ca_file"],
                  "--deployment", self.deployment, action, "--artifact-path",
                  self.place if action == "backup" else self.artifact])

    def drain(self, step):
        """To one place each time, as a pipeline's output directory is."""
        clear(self.artifact)
        self.bbr(step, "backup")
        made, = (name for name in os.listdir(self.place) if name.startswith(f"{self.deployment}_"))
        os.rename(os.path.join(self.place, made), self.artifact)

    def store_environment(self):
        store = self.world.store
        return {"AWS_ACCESS_KEY_ID": store["access_key_id"], "AWS_SECRET_ACCESS_KEY": store["secret_access_key"]}


class Bbr(WithBbr):
    """bbr, tar, age, and an upload: what operators' pipelines do, with encryption. tar and age run side by side, which is
    faster than one after the other and needs less disk."""

    not_in = ("daily-blobs", "daily-dumps")  # ten times the first backup
    name, title, tools = "bbr", "bbr + tar + age + rclone", ("tar", "age", "rclone")
    commands = ["bbr deployment … backup", "tar -c artifact | age -r RECIPIENT -o backup.tar.age", "rclone copyto backup.tar.age s3:…",
                "rclone copyto s3:… backup.tar.age", "age -d -i KEY backup.tar.age | tar -x", "bbr deployment … restore"]

    def versions(self):
        return ", ".join((output(self.bbr_program, "version").strip(), output("tar", "--version").splitlines()[0],
                          "age " + output("age", "--version").strip(), output("rclone", "version").splitlines()[0]))

    def begin(self, workload):
        super().begin(workload)
        self.key = os.path.join(self.world.scratch, "age.key")
        if not os.path.exists(self.key):
            subprocess.run(["age-keygen", "-o", self.key], check=True, stderr=subprocess.DEVNULL)
        self.recipient = output("age-keygen", "-y", self.key).strip()
        self.taken = 0

    def rclone(self, step, source, target):
        store = self.world.store
        step.run(["rclone", "copyto", "--s3-chunk-size", "16M", "--s3-upload-concurrency", "8", "--s3-no-check-bucket", source, target],
                 RCLONE_CONFIG_S3_TYPE="s3", RCLONE_CONFIG_S3_PROVIDER="Other", RCLONE_CONFIG_S3_ENV_AUTH="true",
                 RCLONE_CONFIG_S3_ENDPOINT=store["direct_endpoint"], RCLONE_CONFIG_S3_REGION=store["region"],
                 RCLONE_CONFIG_S3_FORCE_PATH_STYLE="true", **self.store_environment())

    def object(self):
        return f"s3:{self.world.store['buckets'][0]}/backup-{self.taken}.tar.age"

    def backup(self):
        self.taken += 1

        def act(step):
            self.drain(step)
            step.run(["bash", "-ec", 'set -o pipefail; tar -c artifact | age -r "$RECIPIENT" -o backup.tar.age'],
                     RECIPIENT=self.recipient)
            self.rclone(step, "backup.tar.age", self.object())

        found = self.step(act)
        clear(self.artifact)
        os.unlink(os.path.join(self.place, "backup.tar.age"))
        return found

    def restore(self):
        def act(step):
            self.rclone(step, self.object(), "backup.tar.age")
            step.run(["bash", "-ec", 'set -o pipefail; age -d -i "$KEY" backup.tar.age | tar -x'], KEY=self.key)
            self.bbr(step, "restore")

        return self.step(act)


class Restic(WithBbr):
    """restic of what bbr drained."""

    not_in = ("lock",)  # bbr's
    name, title, tools = "restic", "bbr + restic", ("restic",)
    commands = ["bbr deployment … backup", "restic backup artifact", "restic restore latest", "bbr deployment … restore"]

    def versions(self):
        return ", ".join((output(self.bbr_program, "version").strip(), output("restic", "version").strip()))

    def begin(self, workload):
        super().begin(workload)
        self.environment = {
            "RESTIC_PASSWORD": PASSWORD, **self.store_environment(), "AWS_DEFAULT_REGION": self.world.store["region"],
            "RESTIC_REPOSITORY": f"s3:{self.world.store['direct_endpoint']}/{self.world.store['buckets'][0]}"}
        self.step(lambda step: step.run(["restic", "init"], **self.environment))

    def backup(self):
        def act(step):
            self.drain(step)
            step.run(["restic", "backup", "artifact"], **self.environment)

        found = self.step(act)
        clear(self.artifact)
        return found

    def restore(self):
        def act(step):
            step.run(["restic", "restore", "latest", "--target", "."], **self.environment)
            if not os.path.isdir(self.artifact):
                below = output("find", ".", "-type", "d", "-name", "artifact").split()
                raise FileNotFoundError(f"restic restored no artifact directory: {below}")
            self.bbr(step, "restore")

        return self.step(act)


ALL = (Lifeboat, Bbr, Restic)
