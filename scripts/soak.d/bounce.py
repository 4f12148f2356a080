#!/usr/bin/env python3
"""Sends back what comes, and sees that all comes back that is sent: here and, copied there, in the pods. It needs nothing beside it.

bounce.py echo SOCKET PORT      sends back what is sent to either
bounce.py bounce SOCKET SIZE    sends so many bytes; says whether the same came back
"""
import contextlib, random, socket, socketserver, sys, threading, time

PATIENCE = 120  # Seconds, for anything: longer than all that is done to it.


def echo(path, port=None, daemon=False):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                while data := self.request.recv(1 << 16):
                    self.request.sendall(data)

    servers = [socketserver.ThreadingUnixStreamServer(str(path), Handler)]
    servers += [socketserver.ThreadingTCPServer(("127.0.0.1", int(port)), Handler)] if port else []
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=daemon).start()


def bounce(path, data):
    """What comes back."""
    back = bytearray()
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(PATIENCE)
        wait(lambda: client.connect_ex(path) == 0, 10)  # There may be a file, and nobody who listens yet.

        def send():
            with contextlib.suppress(OSError):
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
        threading.Thread(target=send, daemon=True).start()
        while some := client.recv(1 << 16):
            back += some
    return bytes(back)


def wait(until, seconds):
    deadline = time.monotonic() + seconds
    while not (holds := until()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["echo", path, port]:
            echo(path, port)
        case ["bounce", path, size]:
            sent = random.randbytes(int(size))
            print("same" if bounce(path, sent) == sent else "other")
        case _:
            sys.exit(__doc__)
