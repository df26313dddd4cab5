"""A port of one network namespace that leads to a port of another: `forward.py PID PORT PID PORT`.

A process serves the first, another one connects in the second; between them lies a Unix socket. Ends with its parent.
"""

import os
import signal
import socket
import sys
import tempfile
import threading

import sandbox


def pipe(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    for end in (one, other):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(listener, connect):
    while True:
        one, _ = listener.accept()
        try:
            other = connect()
        except OSError:
            one.close()
            continue
        threading.Thread(target=pipe, args=(one, other), daemon=True).start()
        threading.Thread(target=pipe, args=(other, one), daemon=True).start()


def enter(pid):
    with open(f"/proc/{pid}/ns/net") as network:
        sandbox.enter(network.fileno(), sandbox.CLONE_NEWNET)


def connected(path):
    other = socket.socket(socket.AF_UNIX)
    other.connect(path)
    return other


def main():
    here, port, there, target = sys.argv[1:]
    sandbox.die_with_parent()
    path = f"{tempfile.mkdtemp(prefix='forward-')}/socket"
    between = socket.socket(socket.AF_UNIX)
    between.bind(path)
    between.listen(64)
    if os.fork() == 0:
        sandbox.die_with_parent()
        enter(there)
        serve(between, lambda: socket.create_connection(("127.0.0.1", int(target))))
    enter(here)
    listener = socket.create_server(("127.0.0.1", int(port)))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("ready", flush=True)
    serve(listener, lambda: connected(path))


if __name__ == "__main__":
    main()
