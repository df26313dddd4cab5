"""A fault proxy in front of one store: HTTP/1.1 in both directions, Host and body passed unchanged, so
that signatures stay valid. Records and counts requests. Knows nothing of S3 but the shape of its errors.
"""

import collections
import datetime
import email.utils
import re
import socket
import ssl
import threading
import time
import urllib.parse

from faults import Faults

PIECE = 262144
CODES = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed",
         507: "InsufficientStorage"}


class Proxy:
    def __init__(self, backend_port, authority=None):
        self.backend_port, self.authority, self.certificate = backend_port, authority, "good"
        self.faults = Faults(without=("redirect",))
        self.requests, self.changed = [], threading.Condition()
        self.connections, self.lock = set(), threading.Lock()
        self.port, self.listener = 0, None
        self.set_mode("pass")

    def set_mode(self, mode):
        if mode not in ("pass", "refuse"):
            raise ValueError(f"mode is pass or refuse, not {mode}")
        if mode == "refuse" and self.listener:
            listener, self.listener = self.listener, None
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            with self.lock:
                for connection in self.connections:
                    _shut(connection)
        elif mode == "pass" and not self.listener:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(256)
            self.port, self.listener = listener.getsockname()[1], listener
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def counts(self):
        """How many requests by method and answered status, as `PUT 200`; `-` is no answer."""
        counter = collections.Counter(f"{entry['method']} {entry.get('status', '-')}" for entry in list(self.requests))
        return dict(counter)

    def _accept(self, listener):
        while self.listener is listener:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def _client(self, raw):
        client = server = None
        with self.lock:
            self.connections.add(raw)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = raw
            if self.authority:
                client = self.authority.context(self.certificate).wrap_socket(raw, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.backend_port), 30)
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            streams = (client, client.makefile("rb", PIECE), server, server.makefile("rb", PIECE))
            while self._exchange(*streams):
                pass
        except (OSError, ssl.SSLError, ValueError):
            pass
        finally:
            with self.lock:
                self.connections.discard(raw)
            for end in (client or raw, server):
                if end:
                    _shut(end)
                    end.close()

    def _exchange(self, client, from_client, server, from_server):
        """One request and its answer; False when the connection is not to be used again."""
        first, headers = _head(from_client)
        if not first:
            return False
        method, path, _version = first.split(" ", 2)
        entry = {"us": time.time_ns() // 1000, "method": method, "path": path,
                 "access_key_id": _access_key(headers), "sent_bytes": 0, "received_bytes": 0}
        with self.changed:
            self.requests.append(entry)
            self.changed.notify_all()
        fault = self.faults.take(method, urllib.parse.unquote(path)) or {"action": None}
        action = entry["fault"] = fault["action"]
        if action is None:
            del entry["fault"]
        if action == "stall":
            time.sleep(fault.get("seconds", 100000))
            return False
        if action == "close":
            return False
        if action == "delay":
            time.sleep(fault.get("seconds", 1))
        if (_value(headers, "expect") or "").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            if "expect" not in (_value(headers, "authorization") or ""):
                headers = [pair for pair in headers if pair[0].lower() != "expect"]
        to_backend = action not in ("status", "garbage")
        limit = fault.get("bytes", 0) if action == "cut" and fault.get("upload") else None
        if to_backend:
            server.sendall(_encode(first, headers))
        if not _body(from_client, server if to_backend else None, headers, entry, "received_bytes", limit):
            return False
        if not to_backend:
            entry["status"] = fault.get("status", 500) if action == "status" else 200
            client.sendall(_error(entry["status"], fault, action))
            return False
        status_line, answer = _head(from_server)
        while status_line and status_line.split(" ")[1].startswith("1"):
            status_line, answer = _head(from_server)
        if not status_line:
            return False
        status = int(status_line.split(" ")[1])
        entry["status"] = status
        if action == "date":
            answer = [(name, _shifted(value, fault.get("seconds", 3600)))
                      if name.lower() in ("date", "last-modified") else (name, value) for name, value in answer]
        out = None if action == "after" else client
        if out:
            out.sendall(_encode(status_line, answer))
        limit = fault.get("bytes", 0) if action == "cut" else None
        bodyless = method == "HEAD" or status in (204, 304)
        if action == "date" and not bodyless and "xml" in (_value(answer, "content-type") or ""):
            held = _Held()
            whole = _body(from_server, held, answer, entry, "sent_bytes", None, answer=True)
            client.sendall(LISTED_TIME.sub(lambda found: _later(found, fault.get("seconds", 3600)), held.bytes))
            return whole
        if not bodyless and not _body(from_server, out, answer, entry, "sent_bytes", limit, answer=True):
            return False
        if action == "after":
            entry["status"] = fault.get("status", 0)
            if "status" in fault:
                client.sendall(_error(fault["status"], fault, "status"))
            return False
        return not any(_value(group, "connection") == "close" for group in (headers, answer))


def _head(stream):
    first = stream.readline(65536).decode("latin-1").rstrip("\r\n")
    headers = []
    while first:
        line = stream.readline(65536).decode("latin-1").rstrip("\r\n")
        if not line:
            break
        name, _colon, value = line.partition(":")
        headers.append((name, value.strip()))
    return first, headers


def _encode(first, headers):
    return (first + "\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n").encode("latin-1")


def _value(headers, wanted):
    return next((value for name, value in headers if name.lower() == wanted), None)


def _access_key(headers):
    match = re.search(r"Credential=([^/]+)/", _value(headers, "authorization") or "")
    return match[1] if match else None


def _body(source, sink, headers, entry, counter, limit, answer=False):
    """Copy one body as it is framed. With a limit, stop after that many bytes and return False."""

    def copy(count):
        while count:
            piece = source.read1(min(count, PIECE))
            if not piece:
                return False
            count -= len(piece)
            if limit is not None and entry[counter] + len(piece) >= limit:
                if sink:
                    sink.sendall(piece[: limit - entry[counter]])
                return False
            entry[counter] += len(piece)
            if sink:
                sink.sendall(piece)
        return True

    if "chunked" in (_value(headers, "transfer-encoding") or "").lower():
        while True:
            line = source.readline(1024)
            if sink:
                sink.sendall(line)
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while True:
                    line = source.readline(65536)
                    if sink:
                        sink.sendall(line)
                    if line in (b"\r\n", b""):
                        return True
            if not copy(size + 2):
                return False
    length = _value(headers, "content-length")
    if length is None and answer:  # until the other side closes
        while piece := source.read1(PIECE):
            entry[counter] += len(piece)
            if sink:
                sink.sendall(piece)
        return False
    if int(length or 0) == 0:
        return True
    return copy(int(length))


def _error(status, fault, action):
    code = fault.get("code", CODES.get(status, "InternalError"))
    body = fault.get("body")
    if body is None:
        body = "<html>{not xml" if action == "garbage" else (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>a fault was asked for'
            "</Message><RequestId>0</RequestId></Error>")
    return (f"HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {len(body.encode())}\r\n"
            f"Date: {email.utils.formatdate(usegmt=True)}\r\nConnection: close\r\n\r\n{body}").encode()


class _Held:
    """A body that is looked at before it is passed on."""

    def __init__(self):
        self.bytes = b""

    def sendall(self, piece):
        self.bytes += piece


LISTED_TIME = re.compile(rb"(?<=<LastModified>)(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)")


def _later(found, seconds):
    """The same number of bytes: the body may be framed already."""
    time_then = datetime.datetime.fromisoformat(found[1].decode()) + datetime.timedelta(seconds=seconds)
    return time_then.isoformat(timespec="seconds").encode()


def _shifted(value, seconds):
    try:
        return email.utils.formatdate(email.utils.parsedate_to_datetime(value).timestamp() + seconds, usegmt=True)
    except (TypeError, ValueError):
        return value


def _shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
