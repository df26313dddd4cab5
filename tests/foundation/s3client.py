"""A few lines of S3 client with Signature Version 4: to make buckets, and for the self test to look in."""

import datetime
import hashlib
import hmac
import http.client
import ssl
import urllib.parse


class S3Client:
    def __init__(self, endpoint, access_key_id, secret_access_key, region="us-east-1", ca_file=None, skew=0):
        parsed = urllib.parse.urlsplit(endpoint)
        self.host, self.tls = parsed.netloc, parsed.scheme == "https"
        self.key, self.secret, self.region, self.ca_file, self.skew = (
            access_key_id, secret_access_key, region, ca_file, skew)

    def request(self, method, path, query=None, body=b"", headers=None):
        """Returns (status, headers, body)."""
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.skew)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        digest = hashlib.sha256(body).hexdigest()
        signed = {**{name.lower(): value for name, value in (headers or {}).items()},
                  "host": self.host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        pairs = sorted((query or {}).items())
        query_text = "&".join(f"{_quote(name)}={_quote(str(value))}" for name, value in pairs)
        path = urllib.parse.quote(path, safe="/-_.~")
        names = ";".join(sorted(signed))
        canonical = "\n".join([method, path, query_text,
                               *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names, digest])
        scope = f"{day}/{self.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.secret}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        signed["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, "
                                   f"Signature={signature}")
        connection = (http.client.HTTPSConnection(self.host, context=ssl.create_default_context(cafile=self.ca_file),
                                                  timeout=30)
                      if self.tls else http.client.HTTPConnection(self.host, timeout=30))
        try:
            connection.request(method, path + ("?" + query_text if query_text else ""), body, signed)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def _quote(text):
    return urllib.parse.quote(text, safe="-_.~")
