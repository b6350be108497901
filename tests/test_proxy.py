"""The proxy does to what passes what it is told, or no fault that is tried with it would prove anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.make_run import wait_until
from tests.proxy import Fate, Link, Proxy, Way

MESSAGE = bytes(range(256)) * 8
PATIENCE_S = 10.0


class FatefulProxy(Proxy):
    """Everything that is asked, or everything that is answered, has one fate."""

    latency_s = 0.2

    def __init__(self, server_port: int, doomed: Way, fate: Fate) -> None:
        super().__init__(server_port)
        self._doomed, self._fate = doomed, fate

    def fate(self, chunk: bytes, way: Way, link: Link) -> Fate:
        return self._fate if way is self._doomed else Fate.PASSED


@contextmanager
def connected(doomed: Way, fate: Fate) -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """The proxy, and the ends from which doomed chunks are sent and at which they should arrive."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        FatefulProxy(listener.getsockname()[1], doomed, fate) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as client,
        listener.accept()[0] as server,
    ):
        server.settimeout(PATIENCE_S)
        yield (proxy, client, server) if doomed is Way.REQUEST else (proxy, server, client)


both_ways = pytest.mark.parametrize("way", Way)


def received(end: socket.socket, size: int = len(MESSAGE)) -> list[bytes]:
    """What comes, in the pieces it came in, until there is as much as `size` or the other end closes."""
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < size and (piece := end.recv(size)):
        pieces.append(piece)
    return pieces


@both_ways
def test_what_passes_arrives_and_so_does_the_end(way: Way) -> None:
    with connected(way, Fate.PASSED) as (proxy, sender, receiver):
        sender.sendall(MESSAGE)
        sender.close()
        assert b"".join(received(receiver, len(MESSAGE) + 1)) == MESSAGE
        assert not proxy.disturbed


@both_ways
def test_what_is_lost_leaves_both_ends_waiting_until_one_hangs_up(way: Way) -> None:
    with connected(way, Fate.LOST) as (proxy, sender, receiver):
        sender.sendall(MESSAGE)
        wait_until(lambda: proxy.disturbed, lambda: "nothing was lost")
        receiver.sendall(MESSAGE)
        for end in (sender, receiver):
            end.settimeout(0.1)
            with pytest.raises(TimeoutError):
                end.recv(1)
        sender.close()
        receiver.settimeout(PATIENCE_S)
        assert receiver.recv(1) == b""
        receiver.close()
        wait_until(lambda: not proxy.disturbed, lambda: "the connection is still there")


@both_ways
def test_what_is_lost_on_a_connection_that_closes_is_the_end_at_both_ends(way: Way) -> None:
    with connected(way, Fate.LOST_AND_CLOSED) as (_, sender, receiver):
        sender.sendall(MESSAGE)
        assert (receiver.recv(1), sender.recv(1)) == (b"", b"")


@both_ways
def test_what_is_cut_arrives_in_part_and_resets_both_ends(way: Way) -> None:
    with connected(way, Fate.CUT_AND_RESET) as (_, sender, receiver):
        sender.sendall(MESSAGE)
        with pytest.raises(ConnectionResetError):
            received(receiver, len(MESSAGE) + 1)
        with pytest.raises(ConnectionResetError):
            sender.recv(1)


@both_ways
def test_what_is_dribbled_arrives_in_many_pieces(way: Way) -> None:
    with connected(way, Fate.DRIBBLED) as (_, sender, receiver):
        sender.sendall(MESSAGE)
        pieces = received(receiver)
        assert b"".join(pieces) == MESSAGE
        assert len(pieces) > 1


def test_a_late_request_arrives_although_its_sender_has_hung_up() -> None:
    with connected(Way.REQUEST, Fate.LATE) as (proxy, sender, receiver):
        sender.sendall(MESSAGE)
        wait_until(lambda: proxy.disturbed, lambda: "nothing is late")
        sender.close()
        assert b"".join(received(receiver)) == MESSAGE
        receiver.close()
        wait_until(lambda: not proxy.disturbed, lambda: "something is still late")
