"""The log's answer to a write is lost on its way: done once, and the client is told, or told that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import eventlog.deciding
from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec
from tests.eventlog.lossy_proxy import Loss, LossyProxy
from tests.pair import Pair, running_pair

pytestmark = pytest.mark.processes

ADA = {"name": "Ada", "account_id": "1"}


@pytest.fixture
def proxy(real_log: EventLog, redis_server: EmbeddedRedis) -> Iterator[LossyProxy]:
    with LossyProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def pair(real_log: EventLog, proxy: LossyProxy, tmp_path: Path) -> Iterator[Pair]:
    """Both services reach their log through the proxy; customers 1 to 4 are there."""
    log = EventLog.connect(f"redis://127.0.0.1:{proxy.port}", make_codec())
    with running_pair(log, tmp_path) as pair:
        pair.make_demo()
        pair.wait_until_applied()  # a creation that must wait for its account is given another id
        for _ in range(4):
            assert pair.customers().post("/customers", json=ADA).status_code == 201
        pair.wait_until_applied()
        yield pair
    log.close()


def test_a_write_whose_confirmation_is_lost_is_done_once_and_answered(
    pair: Pair, proxy: LossyProxy, real_log: EventLog
) -> None:
    before = real_log.state().sequence
    proxy.lose(Loss.ANSWER_THEN_CLOSE, times=2)
    answer = pair.customers().delete("/customers/1")
    assert (answer.status_code, proxy.left_to_lose) == (204, 0)
    assert real_log.state().sequence == before + 1


def test_a_creation_whose_confirmation_is_lost_is_done_once_and_answers_its_id(
    pair: Pair, proxy: LossyProxy, real_log: EventLog
) -> None:
    before = real_log.state().sequence
    proxy.lose(Loss.ANSWER_THEN_CLOSE, times=2)
    answers = [pair.customers().post("/customers", json=ADA) for _ in range(2)]
    assert ([answer.status_code for answer in answers], proxy.left_to_lose) == ([201, 201], 0)
    assert [answer.get_json()["id"] for answer in answers] == ["5", "6"]
    assert real_log.state().sequence == before + 2


@pytest.mark.parametrize("named", [True, False], ids=["key of the client", "key of ours"])
def test_an_unknown_outcome_is_told_and_can_be_settled_with_the_key(
    pair: Pair, proxy: LossyProxy, real_log: EventLog, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setattr(eventlog.deciding, "RETRY_UNKNOWN_FOR_S", 0.2)
    before = real_log.state().sequence
    proxy.lose(Loss.ANSWER_THEN_CLOSE, times=1000)
    unknown = pair.customers().delete("/customers/1", headers={"Idempotency-Key": "mine"} if named else {})
    assert (unknown.status_code, unknown.headers["Retry-After"]) == (503, "1")
    assert unknown.get_json(force=True)["type"] == "/problems/outcome-unknown"

    proxy.lose(Loss.NONE, times=0)
    key = {"Idempotency-Key": unknown.headers["Idempotency-Key"]}
    pair.wait_until_applied()
    settled = pair.customers().delete("/customers/1", headers=key)
    assert (settled.status_code, settled.headers["Idempotency-Replayed"]) == (204, "true")
    assert real_log.state().sequence == before + 1
