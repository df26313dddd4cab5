"""What makes a spec that looks like a foundation one that can be lost and restored elsewhere: a director host whose
scripts dump its database and blobstore, persistent disks, brokers with errands, service instances in their teams.
"""

import tas
from database import BLOBS, DUMP

DATA = {  # instance groups with a persistent disk, in MiB
    "mysql": 10240, "blobstore": 102400, "backup_restore": 20480, "redis": 1024, "tsdb": 4096}
ARTIFACT = '"$BBR_ARTIFACT_DIRECTORY"'
BACKUP_DATABASE = f"cp {DUMP} {ARTIFACT}bosh-director-artifact-file"
RESTORE_DATABASE = f"""mkdir -p $(dirname {DUMP})
cp {ARTIFACT}bosh-director-artifact-file {DUMP}.restored
mv {DUMP}.restored {DUMP}"""
BACKUP_BLOBS = f"""mkdir -p {BLOBS}
cp -al {BLOBS} {ARTIFACT}store"""
RESTORE_BLOBS = f"""rm -rf {BLOBS}
mkdir -p $(dirname {BLOBS})
cp -a {ARTIFACT}store {BLOBS}"""
ERRANDS = {"register-broker": "script", "upgrade-all-service-instances": "upgrade-all",
           "recreate-all-service-instances": "recreate-all", "orphan-deployments": "orphan-deployments",
           "delete-all-service-instances-and-deregister-broker": "script"}
RUN = {"bin/run": {"text": "#!/bin/bash\n. /var/lib/foundation/journal.sh\nfoundation_begin \"$(basename $(dirname "
                           "$(dirname $0)))\" run\necho done\n", "mode": "0755"}}


def restorable(found, brokers):
    """`brokers`: name of a broker's deployment -> its on-demand deployments."""
    for deployment in found["deployments"]:
        for group in deployment["groups"]:
            if group["name"] in DATA:
                group["persistent_disk"] = DATA[group["name"]]
    for broker, owned in brokers.items():
        for deployment in found["deployments"]:
            if deployment["name"] == broker:
                jobs = deployment["groups"][0]["jobs"]
                jobs.update({name: errand(kind, "on-demand") for name, kind in ERRANDS.items()})
            elif deployment["name"] in owned:
                deployment["teams"] = [broker]
    found["hosts"] = [director()]
    return found


def errand(kind, release):
    return {"release": release, "errand": kind, "files": RUN}


def director():
    """The scripts of database and blobstore lock nothing, as the real ones; those of credhub and uaa do."""
    host = tas.director()
    jobs = {name: host["jobs"][name] for name in ("credhub", "uaa")}
    jobs["director"] = {"scripts": {"backup": BACKUP_DATABASE, "restore": RESTORE_DATABASE}}
    jobs["blobstore"] = {"scripts": {"backup": BACKUP_BLOBS, "restore": RESTORE_BLOBS}}
    files = {path: content for path, content in host["files"].items() if path != "/var/vcap/store/bosh"}
    files[f"{BLOBS}/ff"] = {"tree": {"files": 40, "big": 1, "odd": False, "seed": "compiled packages"}}
    return {**host, "director": True, "jobs": jobs, "files": files}
