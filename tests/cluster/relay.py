"""A way from pod to pod on a cluster without Services, whose pods reach the host and not each other: what
arrives at the host goes on to a pod.
"""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

CHUNK = 65_536


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class _Handler(socketserver.BaseRequestHandler):
    server: "Relay"

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.target, timeout=30) as pod:
            pod.settimeout(None)
            self.server.live.add(self.request)
            back = threading.Thread(target=_copy, args=(pod, self.request), daemon=True)
            back.start()
            _copy(self.request, pod)
            back.join()
        self.server.live.discard(self.request)


class Relay(socketserver.ThreadingTCPServer):
    """Listens on a free port of the host's `address`; refuses until `target` is set."""

    daemon_threads = True
    target: tuple[str, int] = ("127.0.0.1", 0)
    """Address and port of the pod."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.live: set[socket.socket] = set()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Cut every connection, and refuse new ones."""
        target, self.target = self.target, ("127.0.0.1", 0)
        for connection in list(self.live):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        try:
            yield
        finally:
            self.target = target

    @property
    def place(self) -> str:
        """ADDRESS:PORT, as pods call it."""
        host, port = self.server_address[:2]
        return f"{host!s}:{port}"


@contextmanager
def open_relay(address: str) -> Iterator[Relay]:
    with Relay((address, 0), _Handler) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        try:
            yield relay
        finally:
            relay.shutdown()
