"""Runs on the other side of a forward; says its port. Each connection asks in one line for zeros, to have what it sends counted, or for its own words."""
import socketserver, sys


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        work, size = self.rfile.readline().split()
        size, buffer = int(size), bytearray(262144)
        if work == b"echo":
            while words := self.connection.recv(65536):
                self.connection.sendall(words)
        elif work == b"give":
            while size > 0:
                self.connection.sendall(memoryview(buffer)[:size])
                size -= len(buffer)
        else:
            while size > 0 and (got := self.connection.recv_into(buffer)):
                size -= got
            self.connection.sendall(b"done" if size == 0 else b"lost")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, request_queue_size = True, 1024


Answer.rbufsize = 0  # What follows the line stays in the socket.
with Server(("127.0.0.1", 0), Answer) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
