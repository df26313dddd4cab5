"""A spec that looks like TAS with its director: who locks before whom, who dumps what, who does nothing.

The director host has credhub and uaa beside the director; `service_instances` adds small deployments.
"""

DUMP = """. /var/lib/foundation/postgres.env
pg_dump --format=plain --no-owner > "$BBR_ARTIFACT_DIRECTORY"cloud_controller.sql
psql -X -q -A -t -c 'select count(*) from apps' > "$BBR_ARTIFACT_DIRECTORY"rows
"""
LOAD = """nodes=$(awk '$1 == "mysql" {print $2}' /var/lib/foundation/groups)
[ "${nodes:-1}" = 1 ] || { echo "Timed out waiting for mysql to start: there are $nodes nodes, not 1" >&2; exit 1; }
. /var/lib/foundation/postgres.env
psql -X -q -v ON_ERROR_STOP=1 -c 'drop schema public cascade; create schema public' > /dev/null 2>&1
psql -X -q -v ON_ERROR_STOP=1 -f "$BBR_ARTIFACT_DIRECTORY"cloud_controller.sql > /dev/null
test "$(psql -X -q -A -t -c 'select count(*) from apps')" = "$(cat "$BBR_ARTIFACT_DIRECTORY"rows)"
"""
LOCKED = "/var/vcap/sys/run/locked-by-bbr"
LINK = 'cp -al /var/vcap/store/shared "$BBR_ARTIFACT_DIRECTORY"shared\n'
UNLINK = 'rm -rf /var/vcap/store/shared\ncp -a "$BBR_ARTIFACT_DIRECTORY"shared /var/vcap/store/shared\n'
FIRST_ONLY = '[ "$(cat /var/lib/foundation/bootstrap)" = true ] || exit 0\n'


def spec(blobs=3000, big_blobs=3, big_bytes=1 << 20, unlock_seconds=1, rows=1000, auth="basic", cells=3, wild=False,
         service_instances=1, foundation_name="cf"):
    return {
        "director": {"auth": auth},
        "postgres": {"rows": rows},
        "jumpbox": True,
        "deployments": [cf(foundation_name, blobs, big_blobs, big_bytes, unlock_seconds, cells, wild),
                        *(service_instance(number) for number in range(service_instances))],
        "hosts": [director()],
    }


def cf(name, blobs, big_blobs, big_bytes, unlock_seconds, cells, wild):
    return {"name": name, "groups": [
        {"name": "diego_cell", "instances": cells,
         "jobs": {"rep": {"release": "diego", "files": {"bin/ctl": {"text": "#!/bin/sh\n", "mode": "0755"}}}}},
        {"name": "mysql", "instances": 1,
         "jobs": {"database-dump": {"release": "pxc", "scripts": {"backup": DUMP, "restore": LOAD}}}},
        {"name": "cloud_controller", "instances": 2, "jobs": {
            "cloud_controller_ng": locking("capi", before=[("uaa", "uaa")], unlock_seconds=unlock_seconds),
            "route_registrar": {"release": "routing"}}},
        {"name": "uaa", "instances": 1, "jobs": {"uaa": locking("uaa", before=[("credhub", "credhub")])}},
        {"name": "credhub", "instances": 2, "jobs": {
            "credhub": locking("credhub"),
            "credhub-config": {
                "release": "credhub", "properties": {"bbr": {"backup_one_restore_all": True}},
                "scripts": {"backup": {"body": FIRST_ONLY + 'echo "encryption keys" > "$BBR_ARTIFACT_DIRECTORY"keys'},
                            "restore": {"restore_to": "/var/vcap/store/credhub-config"}}}}},
        {"name": "blobstore", "jobs": {
            "blobstore": {"release": "capi", "scripts": {
                "metadata": {"yaml": {"backup_should_be_locked_before": [
                    {"job_name": "cloud_controller_ng", "release": "capi"}]}},
                "pre-backup-lock": {"body": f"touch {LOCKED}"},
                "backup": LINK,
                "post-backup-unlock": {"body": f"rm -f {LOCKED}"},
                "restore": UNLINK}}},
         "instances": [{"files": {"/var/vcap/store/shared": {
             "tree": {"files": blobs, "big": big_blobs, "big_bytes": big_bytes, "wild": wild}}}}]},
    ]}


def locking(release, before=(), unlock_seconds=0):
    """A job that only locks and unlocks, in both directions, and can tell whether it is locked."""
    targets = [{"job_name": job, "release": other} for job, other in before]
    lock = {"body": f"touch {LOCKED}"}
    unlock = {"sleep": unlock_seconds, "body": f"rm -f {LOCKED}"}
    scripts = {"pre-backup-lock": lock, "post-backup-unlock": unlock,
               "pre-restore-lock": lock, "post-restore-unlock": unlock}
    if targets:
        scripts["metadata"] = {"yaml": {"backup_should_be_locked_before": targets,
                                        "restore_should_be_locked_before": targets}}
    return {"release": release, "scripts": scripts}


def director():
    """Releases in the metadata of a director are never looked at, so any text is good."""
    jobs = {"bosh": locking("", before=[("uaa", "any text"), ("credhub", "really")]),
            "credhub": locking("", before=[("uaa", "whatever")]), "uaa": locking("")}
    for name in jobs:
        del jobs[name]["release"]
        place = f"/var/vcap/store/{name}"
        jobs[name]["scripts"].update(
            backup={"body": f'mkdir -p {place}; cp -a {place} "$BBR_ARTIFACT_DIRECTORY"data'},
            restore={"body": f'rm -rf {place}; cp -a "$BBR_ARTIFACT_DIRECTORY"data {place}'})
    return {"name": "bosh", "login": "bbr", "jobs": jobs, "files": {
        "/var/vcap/store/bosh": {"tree": {"files": 40, "big": 1, "odd": False, "seed": "bosh"}},
        "/var/vcap/store/credhub/dump": {"size": 20000}, "/var/vcap/store/credhub/names": {"text": "".join(
            f"/p-bosh/cf/{name} 2026-01-0{day}T00:00:00Z\n" for day, name in enumerate((
                "cc-db-key", "uaa-jwt", "diego-ca", "credhub-key"), 1))},
        "/var/vcap/store/uaa/dump": {"size": 30000},
        "/var/vcap/store/uaa/users": {"text": "admin director operator-1\n"}}}


def service_instance(number):
    return {"name": f"service-instance_{number:08d}-1111-4222-8333-444444444444", "groups": [
        {"name": "redis", "instances": [{"files": {"/var/vcap/store/redis/dump.rdb": {"size": 50000}}}],
         "jobs": {"redis": {"release": "redis", "scripts": {
             "backup": 'cp /var/vcap/store/redis/dump.rdb "$BBR_ARTIFACT_DIRECTORY"',
             "restore": {"restore_to": "/var/vcap/store/redis"}}}}}]}
