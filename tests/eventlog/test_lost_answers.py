"""An append whose answer is lost is in the log once, or the caller knows that it cannot know."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventlog import Command, EventLog
from eventlog.embedded_redis import EmbeddedRedis, free_port
from eventlog.errors import LogUnavailable, OutcomeUnknown
from tests.eventlog.log_contract import moment, publish, sequences
from tests.eventlog.lossy_proxy import Loss, LossyProxy
from tests.eventlog.parcels import a_parcel_sent, make_codec
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

SOCKET_TIMEOUT_S = 0.1


def impatient_log(port: int) -> EventLog:
    """The library's own settings, but with little patience."""
    pool = redis.ConnectionPool(
        host="127.0.0.1",
        port=port,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    return EventLog(pool, make_codec())


@pytest.fixture
def proxy(log: EventLog, embedded_server: EmbeddedRedis) -> Iterator[LossyProxy]:
    """Before a server with a log, which has our scripts."""
    publish(log)
    with LossyProxy(embedded_server.port) as proxy:
        yield proxy


@pytest.mark.parametrize("loss", [Loss.ANSWER_THEN_CLOSE, Loss.ANSWER_THEN_SILENCE, Loss.ALL])
def test_append_is_in_the_log_once_however_often_its_answer_is_lost(
    proxy: LossyProxy, client: redis.Redis, loss: Loss
) -> None:
    log = impatient_log(proxy.port)
    decided_at = moment(log)
    log.check_writable()  # what is asked before an append is known now, so that it is the append's answer that is lost
    proxy.lose(loss, times=3)
    published = publish(log, a_parcel_sent(2), a_parcel_sent(3), decided_at=decided_at, result="id 2")
    assert proxy.left_to_lose == 0
    assert sequences(client) == [1, 2, 3]
    assert (published.sequence, published.result) == (3, "id 2")
    assert published.position == log.state().end
    log.close()


def test_caller_is_told_when_it_cannot_be_known_and_may_publish_again(
    proxy: LossyProxy, client: redis.Redis
) -> None:
    log = impatient_log(proxy.port)
    decided_at, command = moment(log), Command("key", "body", named=True)
    log.check_writable()
    proxy.lose(Loss.ANSWER_THEN_SILENCE, times=1000)
    with pytest.raises(OutcomeUnknown, match="publish again with the same command"):
        publish(log, decided_at=decided_at, command=command, retry_unknown_for_s=5 * SOCKET_TIMEOUT_S)
    assert 1 <= 1000 - proxy.left_to_lose <= 6, "tried for as long as it was told to"
    proxy.lose(Loss.NONE, times=0)
    assert publish(log, decided_at=decided_at, command=command).replayed
    assert sequences(client) == [1, 2]
    log.close()


def test_server_that_is_away_was_not_written(log: EventLog, client: redis.Redis) -> None:
    away = impatient_log(free_port())
    with pytest.raises(LogUnavailable, match="away"):
        publish(away, decided_at=moment(log))
    with pytest.raises(LogUnavailable, match="away"):
        away.state()
    assert client.xlen("event-stream") == 0


def test_server_that_went_away_between_two_appends_was_not_written(
    log: EventLog, embedded_server: EmbeddedRedis, client: redis.Redis
) -> None:
    decided_at = moment(log)
    with LossyProxy(embedded_server.port) as proxy:
        other = impatient_log(proxy.port)
        publish(other, decided_at=decided_at)
    other.close()
    with pytest.raises(LogUnavailable, match="away"):
        publish(other, decided_at=decided_at)
    assert sequences(client) == [1]


def test_silent_server_was_not_written_where_the_append_was_not_sent(
    log: EventLog, client: redis.Redis
) -> None:
    """It accepts connections and never answers: the settings are asked first, so nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        other = impatient_log(silent.getsockname()[1])
        with pytest.raises(LogUnavailable):
            publish(other, decided_at=moment(log))
        other.close()
    assert client.xlen("event-stream") == 0


def patiently(ask: Callable[[], int]) -> int:
    """The first answer that comes; the server may be paused for a while."""
    deadline = time.monotonic() + NEVER_S
    while True:
        try:
            return ask()
        except LogUnavailable:
            assert time.monotonic() < deadline


def test_answer_that_comes_too_late_is_not_taken_for_the_next_one(
    log: EventLog, embedded_server: EmbeddedRedis, client: redis.Redis
) -> None:
    publish(log)
    impatient = impatient_log(embedded_server.port)
    impatient.now()
    client.client_pause(int(1.5 * SOCKET_TIMEOUT_S * 1000))
    with pytest.raises(LogUnavailable):
        impatient.now()
    assert patiently(lambda: impatient.state().sequence) == 1
    impatient.close()


def test_client_that_retries_by_itself_writes_twice(proxy: LossyProxy, client: redis.Redis) -> None:
    """Why the log's own connections never do: without a command record the same loss doubles an entry."""
    careless = redis.Redis(host="127.0.0.1", port=proxy.port, retry=Retry(NoBackoff(), 3))
    proxy.lose(Loss.ANSWER_THEN_CLOSE, times=1)
    careless.eval("return redis.call('XADD', KEYS[1], '*', 'Sequence', '2')", 1, "event-stream")
    careless.close()
    assert sequences(client) == [1, 2, 2]
