"""Runs inside the sandbox: carries 127.0.0.1:PORT to the run's model socket, so any HTTP client works.

`python -I -S relay.py SOCKET PORT`: listens, detaches, and relays bytes until the sandbox dies. One
process and no threads, so that it takes one of the program's process slots and no more.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys

CONNECTIONS = 80  # more than the gateway takes at once, so that the gateway's own refusal reaches the program
BLOCK = 1 << 16


class Relay:
    """Pairs of connected sockets; what one end sends, the other receives."""

    def __init__(self, listener: socket.socket, upstream: str) -> None:
        self.listener = listener
        self.upstream = upstream
        self.selector = selectors.DefaultSelector()
        self.peers: dict[socket.socket, socket.socket] = {}
        self.pending: dict[socket.socket, bytes] = {}
        self.finished: set[socket.socket] = set()
        self.full = False
        self.selector.register(listener, selectors.EVENT_READ)

    def serve(self) -> None:
        """Relays for ever."""
        while True:
            for key, events in self.selector.select():
                end = key.fileobj
                if end is self.listener:
                    self._accept()
                elif isinstance(end, socket.socket) and end in self.peers:
                    self._move(end, events)

    def _accept(self) -> None:
        client, _ = self.listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.upstream)
        except OSError:
            client.close()
            server.close()
            return
        for end, peer in ((client, server), (server, client)):
            end.setblocking(False)
            self.peers[end] = peer
            self.pending[end] = b""
            self.selector.register(end, selectors.EVENT_READ)
        if len(self.peers) >= 2 * CONNECTIONS:  # others wait in the backlog until one ends
            self.selector.unregister(self.listener)
            self.full = True

    def _move(self, end: socket.socket, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and self.pending[end]:
                self.pending[end] = self.pending[end][end.send(self.pending[end]) :]
            if events & selectors.EVENT_READ:
                self._read(end)
            self._settle(end)
        except BlockingIOError:
            return
        except OSError:
            self._close(end)

    def _read(self, end: socket.socket) -> None:
        data = end.recv(BLOCK)
        if data:
            self.pending[self.peers[end]] += data
        else:
            self.finished.add(end)

    def _settle(self, end: socket.socket) -> None:
        """Brings both ends' interests in line with what is waiting to be sent."""
        peer = self.peers[end]
        for one, other in ((end, peer), (peer, end)):
            if one in self.finished and not self.pending[other]:
                other.shutdown(socket.SHUT_WR)
        if {end, peer} <= self.finished and not self.pending[end] and not self.pending[peer]:
            self._close(end)
            return
        for one, other in ((end, peer), (peer, end)):
            wants = selectors.EVENT_WRITE if self.pending[one] else 0
            if one not in self.finished and not self.pending[other]:
                wants |= selectors.EVENT_READ
            self._watch(one, wants)

    def _watch(self, end: socket.socket, wants: int) -> None:
        known = end in self.selector.get_map()
        if wants and known:
            self.selector.modify(end, wants)
        elif wants:
            self.selector.register(end, wants)
        elif known:
            self.selector.unregister(end)

    def _close(self, end: socket.socket) -> None:
        for one in (end, self.peers[end]):
            if one in self.selector.get_map():
                self.selector.unregister(one)
            self.finished.discard(one)
            del self.peers[one], self.pending[one]
            one.close()
        if self.full:
            self.selector.register(self.listener, selectors.EVENT_READ)
            self.full = False


def main() -> None:
    """Listens before the parent returns, so that the program's first request finds the port open."""
    upstream, port = sys.argv[1], int(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", port), backlog=CONNECTIONS)
    if os.fork():
        os._exit(0)
    Relay(listener, upstream).serve()


if __name__ == "__main__":
    main()
