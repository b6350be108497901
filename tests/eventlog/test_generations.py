"""Generations lie beside each other, one link says which is served, and nothing that is in use is deleted."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest

from eventlog import EventLog, ProjectionFile, ProjectionReader
from eventlog.errors import NotBuilt, TailRunning
from eventlog.generations import FILE_NAME, Generations, discard, home_of, list_versions, remove_version
from eventlog.tail_lock import TailLock, is_held
from tests.eventlog.parcels import make_codec, make_post
from tests.eventlog.served_post import rows_of, send_parcels, serve
from tests.fake_redis import fake_pool
from tests.make_run import NEVER_S


@pytest.fixture
def log() -> EventLog:
    log = EventLog(fake_pool(), make_codec())
    log.create()
    return log


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path, make_post())


def begin_many(generations: Generations, count: int) -> list[Path]:
    """New generations with a file in each, whose builders were killed."""
    begun = [generations.begin() for _ in range(count)]
    for generation in begun:
        (generation / FILE_NAME).touch()
        TailLock(generation).release()
    return begun


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


# Numbers


def test_generations_are_numbered_from_one_and_listed_as_numbers(generations: Generations) -> None:
    assert generations.list_all() == []
    begin_many(generations, 11)
    assert names(generations.list_all()) == [str(number) for number in range(1, 12)]


def test_new_generation_is_numbered_above_all_others(generations: Generations) -> None:
    begun = begin_many(generations, 3)
    assert discard(begun[0])
    assert generations.begin().name == "4"


def test_new_generation_never_takes_the_number_of_a_deleted_one_that_is_still_linked(
    generations: Generations,
) -> None:
    """Or it would be served while it is built."""
    for generation in begin_many(generations, 2):
        generations.switch(generation)
        shutil.rmtree(generation)
    assert generations.begin().name == "3"


def test_generations_that_begin_at_once_have_directories_of_their_own(generations: Generations) -> None:
    begun: list[Path] = []
    together = threading.Barrier(8)

    def begin() -> None:
        together.wait(NEVER_S)
        begun.extend(generations.begin() for _ in range(5))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(NEVER_S)
    assert sorted(int(path.name) for path in begun) == list(range(1, 41))


def test_generation_is_found_by_its_number_or_the_others_are_named(generations: Generations) -> None:
    with pytest.raises(NotBuilt, match="no generation 1; there are: none"):
        generations.find(1)
    begun = begin_many(generations, 2)
    assert generations.find(2) == begun[1]
    with pytest.raises(NotBuilt, match="no generation 7; there are: 1, 2"):
        generations.find(7)


def test_generation_without_a_file_is_not_found(generations: Generations) -> None:
    generations.begin()
    with pytest.raises(NotBuilt):
        generations.find(1)


# Which is served


def test_nothing_is_served_before_the_first_switch(generations: Generations) -> None:
    assert (generations.serving(), generations.previous()) == (None, None)


def test_switch_serves_one_and_remembers_the_one_before(generations: Generations) -> None:
    first, second, third = begin_many(generations, 3)
    generations.switch(first)
    assert (generations.serving(), generations.previous()) == (first, None)
    generations.switch(second)
    assert (generations.serving(), generations.previous()) == (second, first)
    generations.switch(third)
    assert (generations.serving(), generations.previous()) == (third, second)


def test_switch_to_what_is_served_keeps_what_was_served_before(generations: Generations) -> None:
    first, second = begin_many(generations, 2)
    generations.switch(first)
    generations.switch(second)
    generations.switch(second)
    assert (generations.serving(), generations.previous()) == (second, first)


def test_there_is_no_moment_without_a_served_file(generations: Generations) -> None:
    """Looked at without a pause while it is switched again and again: one of both, each time."""
    first, second = begin_many(generations, 2)
    generations.switch(first)
    stop = threading.Event()
    found: list[Path | None] = []

    def look() -> None:
        while not stop.is_set():
            found.append(generations.serving() if generations.served_file.exists() else None)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(40):
            generations.switch(second)
            generations.switch(first)
    finally:
        stop.set()
        thread.join(NEVER_S)
    assert set(found) == {first, second}


def test_what_a_killed_switch_left_is_no_obstacle(generations: Generations) -> None:
    first, second = begin_many(generations, 2)
    generations.switch(first)
    for name in ("serving", "previous"):
        (generations.home / f"{name}.unfinished").symlink_to("generations/1")
    generations.switch(second)
    assert (generations.serving(), generations.previous()) == (second, first)
    assert list(generations.home.glob("*.unfinished")) == []


def test_moved_and_copied_directories_serve_what_they_served(log: EventLog, tmp_path: Path) -> None:
    """The links name no path of this machine."""
    send_parcels(log, 1, 5)
    for directory in (tmp_path / "there" / "post", tmp_path / "moved" / "post"):
        directory.parent.mkdir()
    serve(log, tmp_path / "there" / "post")
    before = rows_of(tmp_path / "there" / "post")
    shutil.copytree(tmp_path / "there", tmp_path / "copied", symlinks=True)
    (tmp_path / "there").rename(tmp_path / "moved" / "all")
    for directory in (tmp_path / "moved" / "all" / "post", tmp_path / "copied" / "post"):
        send_parcels(log, log.state().sequence + 1, log.state().sequence + 1)
        serve(log, directory)
        assert rows_of(directory)["parcels"][:5] == before["parcels"]
        assert Generations(directory, make_post()).served_file.resolve().is_relative_to(directory.resolve())


def test_copy_that_followed_links_is_named_with_its_mend(log: EventLog, tmp_path: Path) -> None:
    with closing(ProjectionFile(tmp_path / "there", make_post())):
        shutil.copytree(tmp_path / "there", tmp_path / "copied")
    home = home_of(tmp_path / "copied", make_post())
    with pytest.raises(NotBuilt, match=f"{home}/serving is no symbolic link.*cp -a.*delete {home}"):
        ProjectionFile(tmp_path / "copied", make_post())
    shutil.rmtree(home)
    with closing(ProjectionFile(tmp_path / "copied", make_post())) as file:
        assert file.checkpoint().sequence == 0


def test_link_to_a_deleted_generation_serves_nothing(generations: Generations, tmp_path: Path) -> None:
    first, second = begin_many(generations, 2)
    generations.switch(first)
    generations.switch(second)
    shutil.rmtree(first)
    assert (generations.serving(), generations.previous()) == (second, None)
    shutil.rmtree(second)
    assert (generations.serving(), generations.previous()) == (None, None)
    with pytest.raises(NotBuilt, match="not there yet"), ProjectionReader(tmp_path, make_post()).look():
        pytest.fail("there is nothing to read")


def test_tail_makes_a_new_generation_where_the_served_one_was_deleted(log: EventLog, tmp_path: Path) -> None:
    send_parcels(log, 1, 3)
    serve(log, tmp_path)
    generations = Generations(tmp_path, make_post())
    served = generations.serving()
    assert served is not None
    kept = begin_many(generations, 1)
    shutil.rmtree(served)
    serve(log, tmp_path)
    assert len(rows_of(tmp_path)["parcels"]) == 3
    assert generations.serving() not in {served, *kept}


# Deleting


def test_prune_leaves_what_has_just_begun_and_has_no_lock_yet(generations: Generations) -> None:
    begun = generations.begin()
    assert generations.prune() == []
    TailLock(begun).release()
    assert generations.prune() == [begun]


def test_prune_keeps_what_is_served_what_was_before_and_what_is_being_built(generations: Generations) -> None:
    first, second, third, fourth, built = begin_many(generations, 5)
    generations.switch(fourth)
    generations.switch(second)
    lock = TailLock(built)
    lock.acquire()
    assert generations.prune() == [first, third]
    assert generations.list_all() == [second, fourth, built]
    lock.release()
    assert generations.prune() == [built]
    assert generations.prune() == []
    assert (generations.serving(), generations.previous()) == (second, fourth)


def test_generation_that_is_served_or_was_before_is_never_discarded(generations: Generations) -> None:
    """Whoever gives one up after it was switched to loses nothing."""
    first, second, third = begin_many(generations, 3)
    generations.switch(first)
    generations.switch(second)
    assert [discard(path) for path in (first, second, third)] == [False, False, True]
    assert generations.list_all() == [first, second]


def test_prune_of_nothing_makes_nothing(generations: Generations, tmp_path: Path) -> None:
    assert generations.prune() == []
    assert list(tmp_path.iterdir()) == []


# Versions


def test_versions_are_listed_as_numbers_and_leave_each_other_alone(tmp_path: Path) -> None:
    assert list_versions(tmp_path / "nowhere") == []
    for version in (10, 9, 1):
        (generation,) = begin_many(Generations(tmp_path, make_post(version)), 1)
        Generations(tmp_path, make_post(version)).switch(generation)
    (tmp_path / "vault").mkdir()
    (tmp_path / "v7").touch()
    assert list_versions(tmp_path) == [1, 9, 10]
    begin_many(Generations(tmp_path, make_post(9)), 1)
    assert Generations(tmp_path, make_post(10)).prune() == []
    assert names(Generations(tmp_path, make_post(9)).list_all()) == ["1", "2"]


def test_version_is_removed_whole(tmp_path: Path) -> None:
    for version in (1, 2):
        begin_many(Generations(tmp_path, make_post(version)), 1)
    assert remove_version(tmp_path, 1) == home_of(tmp_path, make_post(1))
    assert list_versions(tmp_path) == [2]
    with pytest.raises(NotBuilt, match="no version 1"):
        remove_version(tmp_path, 1)


def test_version_with_a_tail_is_not_removed(tmp_path: Path) -> None:
    begin_many(Generations(tmp_path, make_post()), 1)
    tail = TailLock(home_of(tmp_path, make_post()))
    tail.acquire()
    with pytest.raises(TailRunning, match="version 1 has a tail: end it first"):
        remove_version(tmp_path, 1)
    tail.release()
    assert names(Generations(tmp_path, make_post()).list_all()) == ["1"]


def test_version_with_a_generation_that_is_being_built_is_not_removed(tmp_path: Path) -> None:
    (built,) = begin_many(Generations(tmp_path, make_post()), 1)
    builder = TailLock(built)
    builder.acquire()
    with pytest.raises(TailRunning, match="generation 1 of version 1 is being built"):
        remove_version(tmp_path, 1)
    builder.release()
    remove_version(tmp_path, 1)
    assert list_versions(tmp_path) == []


def test_lock_is_free_after_its_holder_was_discarded_and_made_anew(generations: Generations) -> None:
    (first,) = begin_many(generations, 1)
    assert not is_held(first)
    assert discard(first)
    assert not os.path.lexists(first)
    assert generations.begin() == first
