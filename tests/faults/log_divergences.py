"""The ways in which a log turns into another under its readers, and two after which it is still the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import redis

from eventlog import EventLog, Moment
from eventlog.continuity import Verdict
from eventlog.embedded_redis import HOST, EmbeddedRedis
from eventlog.log import DEFAULT_STREAM
from shared.events import make_codec
from tests.make_run import wait_until
from tests.services.facts import an_invoice_created

_SOME = 3


class Site(NamedTuple):
    """A log and its server; the new history has invoices of `customer`, numbered from `free_invoice` on."""

    server: EmbeddedRedis
    log: EventLog
    customer: int
    free_invoice: int


# What makes the log diverge, and the verdict it deserves. If told to overtake, the new history is the longer one,
# and its ids lie above every checkpoint, before any tail can look at it.
Diverge = Callable[[bool], Verdict]

# Called to get ready while the log is whole; what is published afterwards, the new history does not have.
Divergence = Callable[[Site], Diverge]

Control = Callable[[Site], None]


def promote_lagging_replica(site: Site) -> Diverge:
    replica = EmbeddedRedis(site.server.directory.with_name("replica"))
    with replica, redis.Redis.from_url(replica.url) as client:
        client.replicaof(HOST, site.server.port)
        _wait_until_copied(client)
    return partial(_come_back_with, site, replica.directory)


def restore_old_directory(site: Site) -> Diverge:
    backup = site.server.directory.with_name("backup")
    shutil.copytree(site.server.directory, backup)
    return partial(_come_back_with, site, backup)


def _come_back_with(site: Site, directory: Path, overtakes: bool) -> Verdict:
    count = _count_to_overtake(site)
    site.server.kill()
    if overtakes:
        with (
            EmbeddedRedis(directory) as elsewhere,
            closing(EventLog.connect(elsewhere.url, make_codec())) as log,
        ):
            _publish(log, site, count)
    shutil.rmtree(site.server.directory)
    directory.rename(site.server.directory)
    site.server.start()
    return Verdict.REWOUND


def flush(site: Site) -> Diverge:
    """Overtaken by a new log with entries of its own, under the numbers of the old one."""

    def diverge(overtakes: bool) -> Verdict:
        count = _count_to_overtake(site)
        with redis.Redis.from_url(site.server.url) as client:
            client.flushall()
        if overtakes:
            site.log.create()
            _publish(site.log, site, count)
        return Verdict.REPLACED

    return diverge


def rename(site: Site) -> Diverge:
    def diverge(overtakes: bool) -> Verdict:
        count = _count_to_overtake(site)
        with redis.Redis.from_url(site.server.url) as client, client.pipeline() as transaction:
            transaction.rename(DEFAULT_STREAM, "elsewhere")
            if overtakes:
                _add_foreign(transaction, site, count)
            transaction.execute()
        return Verdict.REWOUND if overtakes else Verdict.REPLACED

    return diverge


def delete_and_write_anew(site: Site) -> Diverge:
    """By a foreign writer; if it does not overtake, its one entry lies below every checkpoint."""

    def diverge(overtakes: bool) -> Verdict:
        count = _count_to_overtake(site)
        with redis.Redis.from_url(site.server.url) as client, client.pipeline() as transaction:
            transaction.delete(DEFAULT_STREAM)
            if overtakes:
                _add_foreign(transaction, site, count)
            else:
                _add_foreign(transaction, site, 1, entry_id="1-1")
            transaction.execute()
        return Verdict.REWOUND

    return diverge


def grow(site: Site) -> None:
    """Whatever the history is now, a foreign writer goes on with it."""
    with redis.Redis.from_url(site.server.url) as client, client.pipeline() as transaction:
        _add_foreign(transaction, site, _SOME)
        transaction.execute()


# Controls: nothing is lost, and nobody may say so.


def reload(site: Site) -> None:
    with redis.Redis.from_url(site.server.url) as client:
        client.execute_command("DEBUG", "RELOAD")


def rewrite_aof(site: Site) -> None:
    with redis.Redis.from_url(site.server.url) as client:
        client.bgrewriteaof()
        _wait_until_rewritten(client)


DIVERGENCES: Sequence[Divergence] = (
    promote_lagging_replica,
    restore_old_directory,
    flush,
    rename,
    delete_and_write_anew,
)
CONTROLS: Sequence[Control] = (reload, rewrite_aof)


def _count_to_overtake(site: Site) -> int:
    """More entries than any reader of the log has applied."""
    return site.log.state().entries + _SOME


def _publish(log: EventLog, site: Site, count: int) -> None:
    """In our own form."""
    state = log.state()
    invoices = [an_invoice_created(site.free_invoice + number, site.customer) for number in range(count)]
    log.publish(invoices, decided_at=Moment(state.log_id or "", state.end))


def _add_foreign(transaction: Any, site: Site, count: int, entry_id: str = "*") -> None:
    for number in range(count):
        event = an_invoice_created(site.free_invoice + number, site.customer)
        fields = {"EventTypeName": event.type_name, "Payload": msgspec.json.encode(event)}
        transaction.xadd(DEFAULT_STREAM, fields, id=entry_id)


def _wait_until_copied(replica: redis.Redis) -> None:
    """The replica has all that its master has, and has it on disk."""

    def is_linked() -> bool:
        found: Any = replica.info("replication")
        return bool(found["master_link_status"] == "up")

    wait_until(is_linked, lambda: str(replica.info("replication")))
    _wait_until_rewritten(replica)


def _wait_until_rewritten(client: redis.Redis) -> None:
    def is_rewritten() -> bool:
        found: Any = client.info("persistence")
        return not (found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])

    wait_until(is_rewritten, lambda: str(client.info("persistence")))
