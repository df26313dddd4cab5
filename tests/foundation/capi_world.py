"""What a Cloud Controller and its UAA hold: rows made by number when somebody asks, and what was changed since.

Fifty thousand apps need no memory: a row is a function of its kind and number. The counts, and every change, are
rows of the table `capi` in the foundation's PostgreSQL, so what TAS' backup saves, its restore brings back; without
PostgreSQL they are in memory.
"""

import bisect
import copy
import json
import threading
import time
import uuid
import zlib

from instance import FoundationError

COUNTS = {"orgs": 3, "spaces": 6, "apps": 12, "users": 8, "droplets": 2, "seed": "foundation"}
KINDS = ("organizations", "spaces", "apps", "processes", "packages", "droplets", "routes", "domains",
         "service_brokers", "service_offerings", "service_plans", "service_instances",
         "service_credential_bindings", "service_route_bindings", "security_groups", "organization_quotas",
         "space_quotas", "users", "roles", "isolation_segments", "buildpacks", "stacks", "feature_flags",
         "uaa_clients", "network_policies", "router_groups")
TABLE = "create table if not exists capi (id text primary key, kind text, guid text, value jsonb)"
FRESH = 0.25  # seconds for which what was read of the table counts
BEGAN = 1600000000
SECRET = "planted-capi-secret"  # stands wherever a careless reader would pick it up


class World:
    def __init__(self, counts, postgres=None):
        """`counts`: None for a foundation where nothing was ever pushed."""
        self.lock = threading.RLock()
        self.postgres, self.read = postgres, 0
        self.counts, self.changes, self.deleted, self.added = None, {}, {}, {}
        self.memory = []
        if postgres:
            postgres.sql(TABLE)
        if counts is not None:
            self._insert("world", "", {**COUNTS, **counts})

    # -- the table ------------------------------------------------------------------------------------------

    def _insert(self, kind, guid, value):
        with self.lock:
            if self.postgres:
                text = json.dumps(value).replace("'", "''")
                self.postgres.sql(f"insert into capi values ('{uuid.uuid4()}', '{kind}', '{guid}', '{text}')")
            else:
                self.memory.append((kind, guid, value))
            self.read = 0

    def refresh(self):
        """Raises FoundationError while a restore has dropped the table."""
        with self.lock:
            if time.monotonic() < self.read + FRESH:
                return
            rows = self.memory
            if self.postgres:
                text = self.postgres.sql("select coalesce(json_agg(json_build_array(kind, guid, value) order by "
                                         "value->>'at' nulls first), '[]') from capi")
                rows = json.loads(text)
            self.counts, self.changes, self.deleted, self.added = None, {}, {}, {}
            for kind, guid, value in rows:
                if kind == "world":
                    self.counts = value
                else:
                    self._apply(kind, guid, value)
            self.read = time.monotonic()

    def _apply(self, kind, guid, value):
        number = self.number(kind, guid)
        if value.get("deleted"):
            if number is None:
                self.added.get(kind, {}).pop(guid, None)
            else:
                bisect.insort(self.deleted.setdefault(kind, []), number)
        elif number is None:
            self.added.setdefault(kind, {}).setdefault(guid, {}).update(value["row"])
        else:
            merge(self.changes.setdefault((kind, number), {}), value["row"])

    # -- reading ----------------------------------------------------------------------------------------------

    def base(self, kind):
        """How many rows of a kind the counts make."""
        if self.counts is None:
            return 0
        c = self.counts
        return {"organizations": c["orgs"], "spaces": c["spaces"], "apps": c["apps"],
                "processes": c["apps"] + c["apps"] // 25, "packages": c["apps"] * c["droplets"],
                "droplets": c["apps"] * c["droplets"], "routes": c.get("routes", c["apps"]), "domains": 3,
                "service_brokers": 2, "service_offerings": 4, "service_plans": 8,
                "service_instances": c.get("service_instances", c["spaces"] // 2),
                "service_credential_bindings": c.get("bindings", c["spaces"] // 2),
                "service_route_bindings": min(1, c["spaces"] // 2), "security_groups": 4, "organization_quotas": 2,
                "space_quotas": min(c["orgs"], 5), "users": c["users"],
                "roles": c.get("roles", 2 * c["orgs"] + 3 * c["spaces"]), "isolation_segments": 2, "buildpacks": 4,
                "stacks": 2, "feature_flags": 4, "uaa_clients": 12, "network_policies": min(2, c["apps"] // 4),
                "router_groups": 1}[kind]

    def total(self, kind):
        return self.base(kind) - len(self.deleted.get(kind, [])) + len(self.added.get(kind, {}))

    def slice(self, kind, start, count):
        """Rows in the order of their creation."""
        with self.lock:
            gone, made = self.deleted.get(kind, []), list(self.added.get(kind, {}).values())
            old = self.base(kind) - len(gone)
            return [self.row(kind, nth(gone, place)) if place < old else copy.deepcopy(made[place - old])
                    for place in range(start, min(start + count, old + len(made)))]

    def row(self, kind, number):
        found = getattr(self, "make_" + kind)(number)
        found = {"guid": self.guid(kind, number), "created_at": stamp(number), "updated_at": stamp(number), **found}
        merge(found, self.changes.get((kind, number), {}))
        return found

    def find(self, kind, guid):
        number = self.number(kind, guid)
        if number is None:
            return copy.deepcopy(self.added.get(kind, {}).get(guid))
        gone = self.deleted.get(kind, [])
        place = bisect.bisect_left(gone, number)
        if number >= self.base(kind) or (place < len(gone) and gone[place] == number):
            return None
        return self.row(kind, number)

    def named(self, kind, name):
        """By its name (a route by its URL); the GUID is good too."""
        self.refresh()
        found = self.find(kind, name)
        if found:
            return found
        for row in self.slice(kind, 0, self.total(kind)):
            if name in (row.get("name"), row.get("url"), row.get("username"), row.get("client_id")):
                return row
        raise FoundationError(f"there is no {kind} {name}")

    def guid(self, kind, number):
        crc = zlib.crc32((self.counts or COUNTS)["seed"].encode()) & 0xFFFF
        return f"{KINDS.index(kind) + 1:08x}-{crc:04x}-4000-8000-{number:012x}"

    def number(self, kind, guid):
        """The number of a row that the counts made; None for any other."""
        try:
            code, number = int(guid[:8], 16), int(guid[24:], 16)
        except ValueError:
            return None
        known = code == KINDS.index(kind) + 1 and guid == self.guid(kind, number)
        return number if known else None

    # -- changing ---------------------------------------------------------------------------------------------

    def change(self, kind, guid, row):
        self._insert(kind, guid, {"row": row, "at": f"{time.time_ns():020d}"})

    def add(self, kind, row):
        guid = row.get("guid") or str(uuid.uuid4())
        now = stamp(None)
        self.change(kind, guid, {"guid": guid, "created_at": now, "updated_at": now, **row})
        return guid

    def delete(self, kind, guid):
        """With all that belongs to it, as the Cloud Controller does."""
        self.refresh()
        doomed, gone = {guid: kind}, {guid}
        while True:
            more = {}
            for other in KINDS:
                for row in self.slice(other, 0, self.total(other)):
                    if row["guid"] not in doomed and gone & set(owners(row)):
                        more[row["guid"]] = other
            if not more:
                break
            doomed.update(more)
            gone = set(more)
        for one, of in doomed.items():
            self._insert(of, one, {"deleted": True, "at": f"{time.time_ns():020d}"})
        return len(doomed)

    # -- what rows look like ----------------------------------------------------------------------------------

    def _to(self, kind, number):
        return {"data": {"guid": self.guid(kind, number)}}

    def make_organizations(self, n):
        return {"name": f"org-{n}", "suspended": n % 50 == 49, "metadata": metadata(n),
                "relationships": {"quota": self._to("organization_quotas", n % 2)}}

    def make_spaces(self, n):
        org = n % self.counts["orgs"]
        quota = self._to("space_quotas", org) if org < self.base("space_quotas") and n % 4 == 0 else {"data": None}
        return {"name": f"space-{n}", "metadata": metadata(n),
                "relationships": {"organization": self._to("organizations", org), "quota": quota}}

    def make_apps(self, n):
        packs = [["ruby_buildpack"], [], [f"https://user:{SECRET}@git.example.com/own-buildpack"]][n % 3]
        return {"name": f"app-{n}", "state": "STOPPED" if n % 10 == 9 else "STARTED", "metadata": metadata(n),
                "lifecycle": {"type": "buildpack", "data": {"buildpacks": packs, "stack": "cflinuxfs4"}},
                "relationships": {"space": self._to("spaces", n % self.counts["spaces"]),
                                  "current_droplet": self._to("droplets", self._current(n))}}

    def _current(self, app):
        return app * self.counts["droplets"] + self.counts["droplets"] - 1

    def make_processes(self, n):
        apps = self.counts["apps"]
        worker = n >= apps
        app = (n - apps) * 25 if worker else n
        return {"type": "worker" if worker else "web", "command": "[PRIVATE DATA HIDDEN IN LISTS]",
                "instances": n % 3 + 1, "memory_in_mb": 256, "disk_in_mb": 1024, "log_rate_limit_in_bytes_per_second": -1,
                "health_check": {"type": "process" if worker else "port", "data": {"timeout": None}},
                "relationships": {"app": self._to("apps", app), "revision": None}}

    def make_packages(self, n):
        app = n // self.counts["droplets"]
        return {"type": "bits", "state": "READY", "metadata": metadata(n),
                "data": {"error": None, "checksum": {"type": "sha256", "value": f"{n:064x}"}},
                "relationships": {"app": self._to("apps", app)}}

    def make_droplets(self, n):
        app = n // self.counts["droplets"]
        return {"state": "STAGED", "error": None, "stack": "cflinuxfs4", "image": None,
                "lifecycle": {"type": "buildpack", "data": {}}, "execution_metadata": "[PRIVATE DATA HIDDEN IN LISTS]",
                "process_types": {"redacted_message": "[PRIVATE DATA HIDDEN IN LISTS]"},
                "checksum": {"type": "sha256", "value": f"{n + (1 << 32):064x}"},
                "buildpacks": [{"name": "ruby_buildpack", "detect_output": "ruby 3.3", "version": "1.10",
                                "buildpack_name": "ruby"}],
                "relationships": {"app": self._to("apps", app)},
                "links": {"package": {"href": f"https://api.example.com/v3/packages/{self.guid('packages', n)}"}}}

    def make_routes(self, n):
        app = n % self.counts["apps"] if self.counts["apps"] else 0
        domain = 0 if n % 7 else 1
        name = self.make_domains(domain)["name"]
        destination = {"guid": self.guid("routes", n).replace("-4000-", "-4001-"), "weight": None, "port": 8080,
                       "protocol": "http1", "app": {"guid": self.guid("apps", app), "process": {"type": "web"}}}
        return {"protocol": "http", "host": f"app-{n}", "path": "/v1" if n % 11 == 5 else "", "port": None,
                "url": f"app-{n}.{name}{'/v1' if n % 11 == 5 else ''}", "metadata": metadata(n),
                "destinations": [destination] if self.counts["apps"] else [],
                "relationships": {"space": self._to("spaces", app % self.counts["spaces"]),
                                  "domain": self._to("domains", domain)}}

    def make_domains(self, n):
        name = ("apps.test.example.com", "own.example.com", "apps.internal")[n]
        org = self._to("organizations", 0) if n == 1 else {"data": None}
        return {"name": name, "internal": n == 2, "router_group": None, "supported_protocols": ["http"],
                "metadata": metadata(n), "relationships": {"organization": org, "shared_organizations": {"data": []}}}

    def make_service_brokers(self, n):
        return {"name": f"broker-{n}", "url": f"https://broker:{SECRET}@broker-{n}.example.com",
                "metadata": metadata(n), "relationships": {}}

    def make_service_offerings(self, n):
        return {"name": f"offering-{n}", "description": "a service", "available": True, "shareable": False,
                "documentation_url": None, "metadata": metadata(n),
                "relationships": {"service_broker": self._to("service_brokers", n % 2)}}

    def make_service_plans(self, n):
        kind = ("public", "organization", "admin")[n % 3]
        return {"name": f"plan-{n}", "available": kind == "public", "free": n % 2 == 0, "visibility_type": kind,
                "metadata": metadata(n), "schemas": {"service_instance": {"create": {"parameters": {}}}},
                "relationships": {"service_offering": self._to("service_offerings", n % 4)}}

    def make_service_instances(self, n):
        managed = n % 4 != 3
        found = {"name": f"service-{n}", "type": "managed" if managed else "user-provided", "tags": ["data"],
                 "metadata": metadata(n), "last_operation": {"type": "create", "state": "succeeded",
                                                              "description": "", "updated_at": stamp(n)},
                 "relationships": {"space": self._to("spaces", n % self.counts["spaces"])}}
        if managed:
            found["relationships"]["service_plan"] = self._to("service_plans", n % 8)
            found.update(dashboard_url=f"https://dashboard.example.com/?token={SECRET}", upgrade_available=False)
        else:
            found.update(syslog_drain_url=f"syslog://drain:{SECRET}@logs.example.com:514",
                         route_service_url=f"https://user:{SECRET}@routes.example.com")
        return found

    def make_service_credential_bindings(self, n):
        instances = self.base("service_instances")
        instance = n % instances
        space = instance % self.counts["spaces"]
        key = n % 5 == 4
        found = {"type": "key" if key else "app", "name": f"key-{n}" if key else None, "metadata": metadata(n),
                 "last_operation": {"type": "create", "state": "succeeded", "updated_at": stamp(n)},
                 "relationships": {"service_instance": self._to("service_instances", instance)}}
        if not key:
            found["relationships"]["app"] = self._to("apps", space)  # the first app of that space
        return found

    def make_service_route_bindings(self, n):
        return {"route_service_url": f"https://user:{SECRET}@routes.example.com", "metadata": metadata(n),
                "last_operation": {"type": "create", "state": "succeeded", "updated_at": stamp(n)},
                "relationships": {"service_instance": self._to("service_instances", n), "route": self._to("routes", n)}}

    def make_security_groups(self, n):
        spaces = [] if n < 2 else [{"guid": self.guid("spaces", space)}
                                   for space in range(n, min(self.counts["spaces"], n + 3))]
        return {"name": ("dns", "public_networks", "db", "mail")[n],
                "rules": [{"protocol": "tcp", "destination": f"10.0.{n}.0/24", "ports": "443", "log": False,
                           "description": f"rule {n}"}],
                "globally_enabled": {"running": n < 2, "staging": n < 2},
                "relationships": {"running_spaces": {"data": spaces}, "staging_spaces": {"data": []}}}

    def make_organization_quotas(self, n):
        return {"name": ("default", "large")[n],
                "apps": {"total_memory_in_mb": 10240 * (n + 1), "per_process_memory_in_mb": None,
                         "total_instances": None, "per_app_tasks": 5},
                "services": {"paid_services_allowed": True, "total_service_instances": 100, "total_service_keys": 100},
                "routes": {"total_routes": 1000, "total_reserved_ports": 10}, "domains": {"total_domains": 10},
                "relationships": {"organizations": {"data": []}}}

    def make_space_quotas(self, n):
        return {"name": f"space-quota-{n}", "apps": {"total_memory_in_mb": 2048},
                "services": {"paid_services_allowed": n % 2 == 0}, "routes": {"total_routes": 10},
                "relationships": {"organization": self._to("organizations", n), "spaces": {"data": []}}}

    def make_users(self, n):
        name = "admin" if n == 0 else f"user-{n}"
        return {"username": name, "presentation_name": name, "origin": "uaa", "metadata": metadata(n)}

    def make_roles(self, n):
        orgs, users = self.counts["orgs"], max(1, self.counts["users"])
        found = {"user": self._to("users", n % users), "organization": {"data": None}, "space": {"data": None}}
        if n < 2 * orgs:
            kind = ("organization_manager", "organization_auditor")[n // orgs]
            found["organization"] = self._to("organizations", n % orgs)
        else:
            rest = n - 2 * orgs
            kind = ("space_developer", "space_manager", "space_auditor")[rest // self.counts["spaces"] % 3]
            found["space"] = self._to("spaces", rest % self.counts["spaces"])
        return {"type": kind, "relationships": found}

    def make_isolation_segments(self, n):
        return {"name": ("shared", "separate")[n], "metadata": metadata(n)}

    def make_buildpacks(self, n):
        name = ("ruby", "java", "go", "nodejs")[n]
        return {"name": f"{name}_buildpack", "state": "READY", "stack": "cflinuxfs4", "position": n + 1,
                "filename": f"{name}-v1.zip", "enabled": True, "locked": False, "metadata": metadata(n)}

    def make_stacks(self, n):
        return {"name": ("cflinuxfs4", "windows")[n], "description": "a stack", "metadata": metadata(n)}

    def make_feature_flags(self, n):
        return {"name": ("app_scaling", "diego_docker", "route_creation", "user_org_creation")[n], "enabled": n != 1,
                "custom_error_message": None}

    def make_uaa_clients(self, n):
        name = ("cf", "admin", "doppler", "ssh-proxy")[n] if n < 4 else f"client-{n}"
        return {"client_id": name, "scope": ["cloud_controller.read"], "authorities": ["uaa.none"],
                "authorized_grant_types": ["password", "refresh_token"] if n == 0 else ["client_credentials"],
                "resource_ids": ["none"], "autoapprove": [], "lastModified": BEGAN + n, "name": SECRET}

    def make_network_policies(self, n):
        return {"source": {"id": self.guid("apps", n)},
                "destination": {"id": self.guid("apps", n + 1), "protocol": "tcp",
                                "ports": {"start": 8080, "end": 8080}}}

    def make_router_groups(self, n):
        return {"name": "default-tcp", "type": "tcp", "reservable_ports": "1024-1123"}


def metadata(number):
    return {"labels": {"tier": f"t{number % 4}"}, "annotations": {"note": SECRET}}


def nth(gone, place):
    """The number of the row that is `place` in order when those in the sorted list `gone` are not there."""
    number = place
    for one in gone:
        if one > number:
            break
        number += 1
    return number


def owners(row):
    """The GUIDs without which a row is not there."""
    found = [one["data"]["guid"] for name, one in (row.get("relationships") or {}).items()
             if one and isinstance(one.get("data"), dict) and name not in ("quota", "current_droplet")]
    return found + [row[end]["id"] for end in ("source", "destination") if end in row]


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def stamp(number):
    seconds = time.time() if number is None else BEGAN + number
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
