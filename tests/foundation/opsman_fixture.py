"""The spec `ops`: an Ops Manager, its director, TAS, data services and tiles, all consistent.

The deployments' names are the products' GUIDs, as Ops Manager makes them.
"""

import copy

import tas
import whole
from opsman_model import guid

CF, REDIS, MYSQL, WINDOWS, HEALTH = (guid(kind, kind) for kind in (
    "cf", "p-redis", "pivotal-mysql", "pas-windows", "p-healthwatch2"))
SECRETS = {"bbr_client": "bbr=secret==", "ops_manager": "ops=manager=secret=", "p-redis-team": "redis-team-secret",
           "pivotal-mysql-team": "mysql-team-secret"}
BROKER_ERRANDS = [{"name": "register-broker", "post_deploy": True},
                  {"name": "upgrade-all-service-instances", "post_deploy": False},
                  {"name": "recreate-all-service-instances", "post_deploy": False},
                  {"name": "delete-all-service-instances-and-deregister-broker", "pre_delete": True}]


def spec(mysql=3, services=2, windows=True, director_port=None, guid=CF, version="6.0.5", **options):
    """`mysql` instances, `services` Redis instances with scripts, the port of SSH to the director, TAS' GUID and version; the
    rest are the options of `tas`."""
    found = tas.spec(**{"auth": "uaa", "cells": 1, "blobs": 200, "rows": 200, "unlock_seconds": 0, "big_blobs": 1,
                        **options, "service_instances": services, "foundation_name": guid})
    foundation_cf(next(one for one in found["deployments"] if one["name"] == guid), mysql)
    found["director"].update(client="bbr_client", secret=SECRETS["bbr_client"], clients=dict(SECRETS),
                             teams={"p-redis-team": REDIS, "pivotal-mysql-team": MYSQL})
    found["deployments"] += [
        broker(REDIS, "redis-on-demand-broker"), broker(MYSQL, "dedicated-mysql-broker"),
        {"name": HEALTH, "groups": [{"name": "tsdb", "instances": 1, "jobs": {"prometheus": {"release": "hw"}}}]},
        {"name": "service-instance_99999999-1111-4222-8333-444444444444", "groups": [
            {"name": "mysql", "instances": 1, "jobs": {"mysql": {"release": "dedicated-mysql"}, "mysql-backup": {
                "release": "dedicated-mysql", "files": {"bin/ctl": {"text": "#!/bin/sh\n", "mode": "0755"}}}}}]}]
    if windows:
        found["deployments"].append({"name": WINDOWS, "groups": [
            {"name": "windows_diego_cell", "instances": [{"windows": True}],
             "jobs": {"rep_windows": {"release": "diego"}}}]})
    found["opsman"] = opsman(mysql, windows, guid, version)
    found["capi"], found["credhub"] = {}, True
    on_demand = [one["name"] for one in found["deployments"] if one["name"].startswith("service-instance_")]
    found = whole.restorable(found, {REDIS: on_demand[:-1], MYSQL: on_demand[-1:]})
    if director_port:
        found["hosts"][0]["port"] = director_port
    return found


def foundation_cf(cf, mysql):
    """The dump runs on an instance of its own; MySQL is a cluster."""
    group = next(one for one in cf["groups"] if one["name"] == "mysql")
    dump = group["jobs"].pop("database-dump")
    group["jobs"]["pxc-mysql"] = {"release": "pxc"}
    group["instances"] = mysql
    next(one for one in cf["groups"] if one["name"] == "uaa")["jobs"]["smoke_tests"] = whole.errand("script", "smoke")
    cf["groups"].append({"name": "backup_restore", "instances": 1, "jobs": {"database-dump": copy.deepcopy(dump)}})


def broker(name, group):
    return {"name": name, "groups": [{"name": group, "instances": 1, "jobs": {"broker": {"release": "on-demand"}}}]}


def simple(identity, password):
    return {"type": "simple_credentials", "value": {"identity": identity, "password": password}}


def selector(value):
    return {"type": "selector", "value": value, "selected_option": value}


def opsman(mysql, windows, cf, version):
    products = [
        {"type": "cf", "guid": cf, "version": version, "label": "Tanzu Application Service",
         "jobs": {"mysql": mysql, "backup_restore": {"instances": "automatic"}},
         "errands": [{"name": "smoke_tests", "post_deploy": True}],
         "credentials": {
             ".cloud_controller.db_encryption_credentials": simple("db_encryption", "cc-db-encryption-key"),
             ".uaa.admin_credentials": simple("admin", "cf-admin-password"),
             ".uaa.admin_client_credentials": simple("admin", "cf-admin-client-secret"),
             ".properties.credhub_key_encryption_passwords": {"type": "collection", "value": [
                 {"name": "key", "key": {"secret": "credhub-encryption-key"}, "primary": True}]}},
         "properties": {
             ".cloud_controller.system_domain": "sys.test.example.com",
             ".cloud_controller.apps_domain": "apps.test.example.com",
             ".properties.system_blobstore": selector("internal"),
             ".properties.system_blobstore_backup_level": selector("all"),
             ".properties.system_blobstore.external.versioning": False,
             ".properties.system_database": selector("internal_pxc"),
             ".properties.uaa_database": selector("internal_mysql"),
             ".properties.credhub_database": selector("internal_mysql"),
             ".properties.cloud_controller_secret": {"type": "secret", "credential": True,
                                                     "value": {"secret": "planted-secret"}}}},
        {"type": "p-redis", "guid": REDIS, "version": "3.5.0", "label": "Redis", "errands": BROKER_ERRANDS,
         "team_client": {"uaa_client_name": "p-redis-team", "uaa_client_secret": SECRETS["p-redis-team"]},
         "properties": {".properties.backups_selector": selector("No Backups")}},
        {"type": "pivotal-mysql", "guid": MYSQL, "version": "3.3.0", "label": "MySQL", "errands": BROKER_ERRANDS,
         "team_client": {"uaa_client_name": "pivotal-mysql-team",
                         "uaa_client_secret": SECRETS["pivotal-mysql-team"]},
         "properties": {".properties.backups_selector": selector("s3"),
                        ".properties.backups_selector.s3.cron_schedule": "0 */8 * * *",
                        ".properties.backups_selector.s3.bucket_name": "mysql-backups",
                        ".properties.backups_selector.s3.endpoint_url": "https://s3.example.com",
                        ".properties.backups_selector.s3.secret_access_key": {
                            "type": "secret", "credential": True, "value": {"secret": "planted-secret"}}}},
        {"type": "p-healthwatch2", "guid": HEALTH, "version": "2.3.0", "label": "Healthwatch"}]
    if windows:
        products.append({"type": "pas-windows", "guid": WINDOWS, "version": "6.0.5", "label": "TAS for Windows",
                         "stemcell": {"os": "windows2019", "version": "2019.71"}})
    stemcells = [{"os": "ubuntu-jammy", "version": "1.500"}, {"os": "windows2019", "version": "2019.71"}]
    return {"version": "3.0.24-build.1", "passphrase": "decryption \"passphrase\" \\ with = signs",
            "users": [{"username": "admin", "password": "ops-manager-password"},
                      {"username": "viewer", "password": "viewer-password", "role": "restricted_view"},
                      {"username": "operator", "password": "operator-password", "role": "restricted_control"}],
            "clients": [{"client_id": "precreated-client", "client_secret": "ops-client-secret"}],
            "director": {"host": "bosh"}, "products": products, "stemcells": stemcells}
