"""One S3 store: a real server (versitygw) on a directory of its own, buckets, users, and a fault proxy."""

import http.client
import json
import os
import shutil
import subprocess
import time

from instance import FoundationError, free_port
from proxy import Proxy
from s3client import S3Client

ROLES = {
    "reader": (["s3:GetObject", "s3:GetObjectAttributes"], ["s3:ListBucket", "s3:GetBucketLocation"]),
    "lister": ([], ["s3:ListBucket"]),
    "writer": (["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], ["s3:ListBucket", "s3:GetBucketLocation"]),
    "pruner": (["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
               ["s3:ListBucket", "s3:GetBucketLocation"]),
    "none": ([], []),
}
HERE = os.path.dirname(os.path.abspath(__file__))


def server_program():
    """$FOUNDATION_S3, else what ci/setup built, else one on PATH."""
    built = os.path.normpath(f"{HERE}/../../target/tools/bin/versitygw")
    found = os.environ.get("FOUNDATION_S3") or (built if os.path.exists(built) else shutil.which("versitygw"))
    if not found:
        raise FoundationError("the S3 server is missing; ci/setup builds it into target/tools/bin")
    return found


class Store:
    def __init__(self, spec, directory, authority):
        self.name, self.region = spec["name"], spec.get("region", "us-east-1")
        self.buckets, self.users = spec.get("buckets", ["lifeboat"]), spec.get("users", [])
        self.directory, self.tls, self.authority = f"{directory}/stores/{self.name}", spec.get("tls", False), authority
        self.key, self.secret = f"AK{self.name.upper()}ROOT", f"secret-of-{self.name}-root"
        for user in self.users:
            user.setdefault("secret_access_key", f"secret-of-{user['access_key_id']}")
            if user.setdefault("role", "none") not in ROLES:
                raise FoundationError(f"role is one of {', '.join(ROLES)}, not {user['role']}")
        self.object_lock = spec.get("object_lock", False)
        self.port = free_port()
        self.proxy = None

    def start(self):
        data, iam = f"{self.directory}/data", f"{self.directory}/iam"
        os.makedirs(data)
        os.makedirs(iam)
        accounts = {user["access_key_id"]: {"access": user["access_key_id"], "secret": user["secret_access_key"],
                                            "role": "user", "userID": 0, "groupID": 0, "projectID": 0}
                    for user in self.users}
        with open(f"{iam}/users.json", "w") as file:
            json.dump({"accessAccounts": accounts}, file)
        if self.object_lock:
            os.makedirs(f"{self.directory}/versions")
        extra = [] if _has_attributes(data) else ["--sidecar", f"{self.directory}/attributes"]
        if extra:
            os.makedirs(extra[1])
        if self.object_lock:
            extra += ["--versioning-dir", f"{self.directory}/versions"]
        for attempt in range(3):
            with open(f"{self.directory}/server.log", "ab") as log:
                self.process = subprocess.Popen(
                    [server_program(), "--port", f"127.0.0.1:{self.port}", "--access", self.key, "--secret",
                     self.secret, "--region", self.region, "--iam-dir", iam, "--quiet", "--keep-alive",
                     "posix", *extra, data], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if self._wait():
                break
            if attempt == 2:
                with open(f"{self.directory}/server.log", errors="replace") as log:
                    raise FoundationError(f"the S3 server did not start: {log.read()[-500:]}")
            self.port = free_port()
        self.proxy = Proxy(self.port, self.authority if self.tls else None)
        client = S3Client(f"http://127.0.0.1:{self.port}", self.key, self.secret, self.region)
        for bucket in self.buckets:
            lock = {"x-amz-bucket-object-lock-enabled": "true"} if self.object_lock else {}
            self._must(client.request("PUT", f"/{bucket}", headers=lock), f"create bucket {bucket}")
            statements = [self._statement(bucket, user, actions, place)
                          for user in self.users
                          for actions, place in zip(ROLES[user["role"]], ("/*", ""), strict=True) if actions]
            if statements:
                policy = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
                self._must(client.request("PUT", f"/{bucket}", {"policy": ""}, policy), f"set the policy of {bucket}")

    @staticmethod
    def _statement(bucket, user, actions, place):
        return {"Effect": "Allow", "Principal": {"AWS": [user["access_key_id"]]}, "Action": actions,
                "Resource": [f"arn:aws:s3:::{bucket}{place}"]}

    @staticmethod
    def _must(answer, what):
        if answer[0] not in (200, 204):
            raise FoundationError(f"cannot {what}: {answer[0]} {answer[2][:300]!r}")

    def _wait(self):
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            try:  # an answer, not only a connection
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/")
                connection.getresponse().read()
                return True
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
        return False

    def describe(self):
        scheme = "https" if self.tls else "http"
        return {"endpoint": f"{scheme}://127.0.0.1:{self.proxy.port}",
                "direct_endpoint": f"http://127.0.0.1:{self.port}", "region": self.region, "buckets": self.buckets,
                "access_key_id": self.key, "secret_access_key": self.secret, "users": self.users,
                "directory": f"{self.directory}/data"}


def _has_attributes(directory):
    try:
        os.setxattr(directory, "user.test", b"1")
        os.removexattr(directory, "user.test")
        return True
    except OSError:
        return False
