"""A TCP proxy on loopback that delays each direction by half a round trip.

It models latency alone: no loss, no limit of bandwidth, and no slow start or window of TCP, which it hides. SSH's and SFTP's own flow
control is what shows.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from collections import deque

PIECE = 256 << 10


class Line:
    """Bytes of one direction on their way."""

    def __init__(self, source, target, seconds):
        self.source, self.target, self.seconds = source, target, seconds
        self.pieces, self.arrived = deque(), threading.Condition()

    def start(self):
        for half in (self.take, self.give):
            threading.Thread(target=half, daemon=True).start()

    def take(self):
        while True:
            try:
                piece = self.source.recv(PIECE)
            except OSError:
                piece = b""
            with self.arrived:
                self.pieces.append((time.monotonic() + self.seconds, piece))
                self.arrived.notify()
            if not piece:
                return

    def give(self):
        while True:
            with self.arrived:
                while not self.pieces:
                    self.arrived.wait()
                due, piece = self.pieces.popleft()
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                if not piece:
                    self.target.shutdown(socket.SHUT_WR)
                    return
                self.target.sendall(piece)
            except OSError:
                return


def serve(listener, port, milliseconds):
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection(("127.0.0.1", port))
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((near, far), (far, near)):
            Line(source, target, milliseconds / 2000).start()


@contextlib.contextmanager
def proxy(port, milliseconds):
    """The port of a proxy, in a process of its own, before the server at `port`."""
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        serve(listener, port, milliseconds)
        os._exit(0)
    near = listener.getsockname()[1]
    listener.close()
    try:
        yield near
    finally:
        os.kill(child, 15)
        os.waitpid(child, 0)


if __name__ == "__main__":
    with proxy(int(sys.argv[1]), float(sys.argv[2])) as near:
        print(f"127.0.0.1:{near}", flush=True)
        threading.Event().wait()
