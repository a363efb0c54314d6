"""A proxy before a broker that can make it say that there are no brokers.

Brokers say so themselves while their controller counts all of them as away: after a machine slept, say, or under a load
under which no heartbeat comes in time. Only then is it asked for here, so that a test need not wait for it.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

METADATA = 3
FLEXIBLE_VERSION = 9
"""Of Metadata: from here on lengths are varints, and headers have tagged fields (KIP-482)."""


class Blinder:
    """Passes connections on to a broker of this machine.

    Args:
        port: Where clients reach it; what the broker advertises. Taken at once, so that no broker is given it.

    Attributes:
        port: Where clients reach it.
        broker_port: Where the broker listens.
        away: Whether connections are broken off.
        blinding: Whether answers name no brokers.
    """

    def __init__(self, port: int) -> None:
        self.away = self.blinding = False
        self.port = port
        self.broker_port = 0
        self._listening = socket.create_server(("127.0.0.1", port))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Break all connections off and take no more."""
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections off; new ones are taken."""
        while self._open:
            _shut(self._open.pop())

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self.away:
                    client.close()
                    continue
                try:
                    broker = socket.create_connection(("127.0.0.1", self.broker_port))
                except OSError:
                    client.close()
                    continue
                self._open |= {client, broker}
                asked: set[int] = set()
                for pump in (self._ask, self._answer):
                    threading.Thread(target=pump, args=(client, broker, asked), daemon=True).start()

    def _ask(self, client: socket.socket, broker: socket.socket, asked: set[int]) -> None:
        for frame in _frames(client, broker):
            key, version, number = struct.unpack_from(">hhi", frame)
            if key == METADATA and version >= FLEXIBLE_VERSION:
                asked.add(number)
            _pass_on(broker, frame)

    def _answer(self, client: socket.socket, broker: socket.socket, asked: set[int]) -> None:
        for frame in _frames(broker, client):
            (number,) = struct.unpack_from(">i", frame)
            known = number in asked
            asked.discard(number)
            _pass_on(client, _without_brokers(frame) if known and self.blinding else frame)


def _without_brokers(frame: bytes) -> bytes:
    """Return a Metadata response with its list of brokers emptied."""
    start = at = 4 + 1 + 4  # Correlation id, no tagged fields, throttle time.
    count, at = _varint(frame, at)
    for _ in range(count - 1):
        at += 4  # Node id.
        length, at = _varint(frame, at)
        at += length - 1 + 4  # Host and port.
        length, at = _varint(frame, at)
        at += max(length - 1, 0) + 1  # Rack, and no tagged fields.
    return frame[:start] + b"\x01" + frame[at:]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _frames(source: socket.socket, other: socket.socket) -> Iterator[bytes]:
    """Yield what comes, frame by frame, until either side ends; then end both."""
    try:
        while head := _exactly(source, 4):
            yield _exactly(source, struct.unpack(">i", head)[0])
    except OSError:
        pass
    finally:
        _shut(source)
        _shut(other)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            return b""
        data += more
    return data


def _pass_on(target: socket.socket, frame: bytes) -> None:
    # Whoever has gone notices by itself.
    with contextlib.suppress(OSError):
        target.sendall(struct.pack(">i", len(frame)) + frame)


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
