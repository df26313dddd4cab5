"""Two ways through: a SOCKS5 server, and an instance whose sshd forwards (a jumpbox)."""

import select
import socket
import socketserver
import struct
import threading
import time

from faults import Faults


class Socks:
    """SOCKS5 without authentication. Records targets as requests (method CONNECT, path host:port)."""

    def __init__(self):
        self.requests, self.faults, self.changed = [], Faults(), threading.Condition()
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                outer.serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def serve(self, client):
        _version, count = _read(client, 2)
        _read(client, count)
        client.sendall(b"\x05\x00")
        _version, command, _zero, kind = _read(client, 4)
        if kind == 1:
            host = socket.inet_ntoa(_read(client, 4))
        elif kind == 3:
            host = _read(client, _read(client, 1)[0]).decode()
        else:
            host = socket.inet_ntop(socket.AF_INET6, _read(client, 16))
        port = struct.unpack("!H", _read(client, 2))[0]
        with self.changed:
            self.requests.append({"us": time.time_ns() // 1000, "method": "CONNECT", "path": f"{host}:{port}"})
            self.changed.notify_all()
        fault = self.faults.take("CONNECT", f"{host}:{port}")
        if fault:
            if fault["action"] == "stall":
                time.sleep(fault.get("seconds", 100000))
            return
        if command != 1:
            client.sendall(b"\x05\x07\x00\x01" + bytes(6))
            return
        try:
            server = socket.create_connection((host, port), 10)
        except OSError:
            client.sendall(b"\x05\x05\x00\x01" + bytes(6))
            return
        server.settimeout(None)
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        pipe(client, server)


def _read(connection, count):
    got = b""
    while len(got) < count:
        piece = connection.recv(count - len(got))
        if not piece:
            raise ConnectionError("closed")
        got += piece
    return got


def pipe(left, right):
    """Bytes both ways until both sides are done."""
    other = {left: right, right: left}
    open_sides = [left, right]
    while open_sides:
        for side in select.select(open_sides, [], [])[0]:
            try:
                piece = side.recv(262144)
                if piece:
                    other[side].sendall(piece)
                    continue
                other[side].shutdown(socket.SHUT_WR)
            except OSError:
                open_sides.clear()
                break
            open_sides.remove(side)
    for side in (left, right):
        side.close()


class Jumpbox:
    def __init__(self, instance, key_file):
        self.instance, self.key_file = instance, key_file

    def describe(self):
        user = self.instance.spec["login"]
        return {"address": f"127.0.0.1:{self.instance.port}", "username": user, "private_key_file": self.key_file,
                "host_public_key": self.instance.host_public_key,
                "all_proxy": f"ssh+socks5://{user}@127.0.0.1:{self.instance.port}?private-key={self.key_file}"}
