"""A real PostgreSQL for a job to dump: started as a user without rights, data below the foundation's
directory. Instances find it through /var/lib/foundation/postgres.env.
"""

import glob
import os
import pwd
import shutil
import subprocess
import time

import sandbox
from instance import FoundationError, free_port

PLACE = "/srv"  # in our own mount namespace only; the directory's parents may be closed to other users
DATABASE = "cloud_controller"


class Postgres:
    def __init__(self, directory, spec):
        spec = spec if isinstance(spec, dict) else {}
        self.directory, self.rows = f"{directory}/postgres", spec.get("rows", 1000)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[4]))
        if not found:
            raise FoundationError("PostgreSQL is missing; ci/setup installs it")
        self.programs, self.port, self.password = found[-1], free_port(), "foundation"
        names = [entry.pw_name for entry in pwd.getpwall()]
        self.user = "postgres" if "postgres" in names else "nobody"

    def start(self):
        os.makedirs(self.directory)
        shutil.chown(self.directory, self.user)
        sandbox.bind(self.directory, PLACE)
        with open(f"{self.directory}/password", "w") as file:
            file.write(self.password)
        os.chmod(f"{self.directory}/password", 0o644)
        self._run("initdb", "-D", f"{PLACE}/data", "-U", "admin", "--pwfile", f"{PLACE}/password", "-A",
                  "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen(
                [f"{self.programs}/postgres", "-D", f"{PLACE}/data", "-p", str(self.port), "-h", "127.0.0.1", "-k", "",
                 "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_wal_size=64MB"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=PLACE, user=self.user, group=self._group(),
                extra_groups=[], env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"})
        end = time.monotonic() + 30
        while True:
            try:
                self.sql("select 1", "postgres")
                break
            except FoundationError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.02)
        self.sql(f"create database {DATABASE}", "postgres")
        self.sql("create table apps (id integer primary key, name text, state jsonb);"
                 "create table blobs (id integer primary key, content bytea);"
                 f"insert into apps select n, 'app-' || n, jsonb_build_object('n', n) from generate_series(1, {self.rows}) n;"
                 f"insert into blobs select n, sha256(n::text::bytea) from generate_series(1, {self.rows}) n;")

    def _group(self):
        return pwd.getpwnam(self.user).pw_gid

    def _run(self, program, *arguments):
        done = subprocess.run([f"{self.programs}/{program}", *arguments], capture_output=True, cwd=PLACE, check=False,
                              user=self.user, group=self._group(), extra_groups=[], stdin=subprocess.DEVNULL,
                              env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"})
        if done.returncode != 0:
            raise FoundationError(f"{program}: {done.stderr.decode(errors='replace').strip()[-500:]}")

    def sql(self, query, database=None):
        done = subprocess.run([f"{self.programs}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", query],
                              capture_output=True, check=False, stdin=subprocess.DEVNULL,
                              env={**self.environment(), "PGDATABASE": database or DATABASE, "PGCONNECT_TIMEOUT": "5"})
        if done.returncode != 0:
            raise FoundationError(f"psql: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace").strip()

    def environment(self):
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "admin", "PGPASSWORD": self.password,
                "PGDATABASE": DATABASE, "PATH": f"{self.programs}:/usr/bin:/bin"}

    def tell(self, instances):
        text = "".join(f"export {name}={value}\n" for name, value in self.environment().items())
        for instance in instances:
            instance.write("var/lib/foundation/postgres.env", text)

    def describe(self):
        return {"host": "127.0.0.1", "port": self.port, "user": "admin", "password": self.password,
                "database": DATABASE}
