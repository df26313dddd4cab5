"""An HTTPS server for the simulators: threads, per-request faults, a record of every request.

Knows HTTP and TLS; what a path means is the subclass's `answer`.
"""

import http.server
import json
import socket
import ssl
import threading
import time
import urllib.parse

from faults import Faults


class Answer(Exception):
    """Raised or returned: the response as a value."""

    def __init__(self, status, body=b"", kind="text/plain", headers=None, stream=None, length=None):
        """`stream`: an iterator of bytes instead of a body; sent in HTTP chunks unless its `length` is told."""
        super().__init__(status)
        self.status, self.kind, self.headers = status, kind, headers or {}
        self.body = body.encode() if isinstance(body, str) else body
        self.stream, self.length = stream, length

    @classmethod
    def json(cls, value, status=200, headers=None):
        return cls(status, json.dumps(value), "application/json", headers)


class Service:
    """Base of director and UAA. `answer(request)` returns an Answer; `request` is the handler."""

    name = "service"

    def __init__(self, authority, port=0):
        self.authority = authority
        self.certificate = "good"
        self.faults = Faults(without=("date",))
        self.requests = []
        self.changed = threading.Condition()
        service = self

        class Handler(_Handler):
            pass

        Handler.service = service
        self.handler = Handler
        self.listen(port)
        self.url = f"https://127.0.0.1:{self.port}"

    def listen(self, port):
        self.server = _Server(("127.0.0.1", port), self.handler)
        self.server.service = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def pause_listening(self, seconds):
        """Connections are refused from now on for so long; those that exist stay."""
        self.end()
        again = threading.Timer(seconds, self.listen, [self.port])
        again.daemon = True
        again.start()

    def begin(self, request):
        """The head of a request has arrived, its body has not."""

    def done(self, request):
        """The answer is about to leave, or cannot; may be called twice. Before the last byte: whoever has read that
        may send his next request at once."""

    def record(self, entry):
        with self.changed:
            self.requests.append(entry)
            self.changed.notify_all()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def finish_request(self, request, client_address):
        # In the connection's own thread: a client that is slow with TLS must not hold up others.
        request.settimeout(60)
        try:
            secured = self.service.authority.context(self.service.certificate).wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            self.service.record({"us": time.time_ns() // 1000, "tls_failed": True, "method": "", "path": ""})
            return
        secured.settimeout(None)
        try:
            self.RequestHandlerClass(secured, client_address, self)
        finally:
            try:
                secured.close()
            except OSError:
                pass

    def handle_error(self, request, client_address):
        pass  # broken connections are part of the tests


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    wbufsize = 65536

    def log_message(self, *_arguments):
        pass

    def _any(self):
        self.service.begin(self)
        try:
            self._one()
        finally:
            self.service.done(self)

    def _one(self):
        parsed = urllib.parse.urlsplit(self.path)
        self.route = urllib.parse.unquote(parsed.path)
        self.query = dict(urllib.parse.parse_qsl(parsed.query))
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            self.body = b"".join(self._chunks())
        else:
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        entry = {"us": time.time_ns() // 1000, "method": self.command, "path": self.path,
                 "authorization": (self.headers.get("Authorization") or "").split(" ")[0],
                 "authorized": None, "agent": self.headers.get("User-Agent", ""),
                 "range": self.headers.get("Range"), "body": self.body[:20000].decode(errors="replace")}
        self.entry = entry
        self.service.record(entry)
        fault = self.service.faults.take(self.command, self.path)
        if fault and fault["action"] != "after" and not self._fault(fault):
            return
        try:
            answer = self.service.answer(self)
        except Answer as raised:
            answer = raised
        if fault and fault["action"] == "after":  # the work was done, the answer is lost
            answer = Answer(fault.get("status", 500), fault.get("body", "the answer was lost"))
        if fault and fault["action"] == "redirect" and 300 <= answer.status < 400:
            place = urllib.parse.urlsplit(answer.headers["Location"])
            answer.headers["Location"] = fault.get("to", "https://director.elsewhere.example:25555") + place.path
        self._send(answer, cut=fault.get("bytes", 10) if fault and fault["action"] == "cut" else None)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _any

    def json_object(self):
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            raise Answer.json({"errors": {"base": ["the body is not JSON"]}}, 400) from None
        if not isinstance(found, dict):
            raise Answer.json({"errors": {"base": ["the body is not an object"]}}, 400)
        return found

    def _chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _fault(self, fault):
        """True when the request is to be answered as usual afterwards."""
        action = fault["action"]
        self.entry["fault"] = action
        if action == "delay":
            time.sleep(fault.get("seconds", 1))
            return True
        if action in ("redirect", "cut"):
            return True
        if action == "status":
            self._send(Answer(fault.get("status", 500), fault.get("body", "a fault was asked for"),
                              headers=fault.get("headers")))
        elif action == "garbage":
            self._send(Answer(200, fault.get("body", "<html>{not json"), "text/html"))
        else:
            if action == "stall":
                time.sleep(fault.get("seconds", 100000))
            self.close_connection = True
            try:
                self.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        return False

    def _stream(self, answer, cut):
        chunked = answer.length is None
        self.send_header("Content-Type", answer.kind)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(answer.length))
        self.end_headers()
        sent = 0
        for piece in answer.stream:
            if cut is not None:
                piece = piece[:cut - sent]
            sent += len(piece)
            if sent == answer.length:
                self.service.done(self)
            if piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if cut is not None and sent >= cut:
                self.close_connection = True
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        self.service.done(self)
        self.wfile.write(b"0\r\n\r\n" if chunked else b"")
        self.wfile.flush()

    def _send(self, answer, cut=None):
        self.entry["status"] = answer.status
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.stream is not None:
            self._stream(answer, cut)
            return
        if answer.status not in (204, 304):
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        body = b"" if self.command == "HEAD" or answer.status in (204, 304) else answer.body
        if cut is not None:
            body = body[:cut]
            self.close_connection = True
        self.service.done(self)
        self.wfile.write(body)
        self.wfile.flush()
        if cut is not None:
            self.connection.shutdown(socket.SHUT_RDWR)
