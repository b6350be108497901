"""Where the built files of a projection lie, and which of them is served.

    DIRECTORY/v<version>/generations/<number>/projection.db    one generation: a file in a directory of its own
    DIRECTORY/v<version>/serving -> generations/<number>       what is read, and what the tail writes
    DIRECTORY/v<version>/previous -> generations/<number>      what was served before, to roll back to

Versions of the code have homes of their own, so a new one is built, and an old one kept, while another runs.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from eventlog.errors import NotBuilt, TailRunning
from eventlog.private_files import make_private_directory
from eventlog.projection import Projection
from eventlog.tail_lock import LOCK_NAME, TailLock, is_held

FILE_NAME: Final = "projection.db"
_FOLDER, _SERVING, _PREVIOUS = "generations", "serving", "previous"
_SOON: Final = timedelta(minutes=1)
_UNFINISHED: Final = "unfinished"  # in a generation while it is built
SERVED_FILE: Final = Path(_SERVING, FILE_NAME)  # in a home; a path that follows each switch


def home_of(directory: Path, projection: Projection) -> Path:
    """What this version of the code has for itself: its generations, its tail's lock, status and requests."""
    return directory / f"v{projection.version}"


def list_versions(directory: Path) -> list[int]:
    """The versions of the code that have a home in a projection's directory, in order."""
    if not directory.is_dir():
        return []
    found = (path for path in directory.iterdir() if path.is_dir())
    return sorted(version_of(path) for path in found if path.name[:1] == "v" and path.name[1:].isdecimal())


def version_of(home: Path) -> int:
    return int(home.name[1:])


def list_homes(data_directory: Path) -> list[Path]:
    """The homes of all projections and versions below a directory that are served."""
    return sorted(link.parent for link in data_directory.rglob(f"v[0-9]*/{_SERVING}") if link.is_symlink())


def list_files(directory: Path) -> list[Path]:
    """The files of all generations of all versions below a projection's directory, the oldest first."""
    homes = [directory / f"v{version}" for version in list_versions(directory)]
    return [
        path / FILE_NAME for home in homes for path in _list_generations(home) if (path / FILE_NAME).is_file()
    ]


class Generations:
    """Of one projection and version. A switch is one rename of a symbolic link."""

    def __init__(self, directory: Path, projection: Projection) -> None:
        self.home = home_of(directory, projection)
        self._folder = self.home / _FOLDER

    @property
    def served_file(self) -> Path:
        """The file that is served, by a path that follows each switch."""
        return self.home / SERVED_FILE

    def serving(self) -> Path | None:
        """The directory of the generation that is served; None before the first, or if it was deleted."""
        return _named_by(self.home, _SERVING)

    def previous(self) -> Path | None:
        """The directory of the generation that was served before; None if there is none, or it was pruned."""
        return _named_by(self.home, _PREVIOUS)

    def list_all(self) -> list[Path]:
        """The directories of all generations, oldest first."""
        return _list_generations(self.home)

    def find(self, number: int) -> Path:
        """The directory of a generation; NotBuilt if there is none."""
        found = self._folder / str(number)
        if not (found / FILE_NAME).exists():
            there = ", ".join(path.name for path in self.list_all()) or "none"
            raise NotBuilt(f"{self.home} has no generation {number}; there are: {there}")
        return found

    def begin(self) -> Path:
        """Make the directory of a new generation, numbered above all others, deleted ones that a link names too."""
        make_private_directory(self._folder)
        named = [_target(self.home, link) for link in (_SERVING, _PREVIOUS)]
        number = max(map(_number, [*self.list_all(), *filter(None, named)]), default=0)
        while True:
            number += 1
            try:
                (self._folder / str(number)).mkdir(mode=0o700)
            except FileExistsError:
                continue  # another rebuild took it
            begun = self._folder / str(number)
            (begun / _UNFINISHED).touch()
            return begun

    def finish(self, generation: Path) -> None:
        """It is whole: kept until it is served or pruned."""
        (generation / _UNFINISHED).unlink(missing_ok=True)

    def begun_at(self, generation: Path) -> datetime | None:
        """When building it began; None once it is whole."""
        try:
            return datetime.fromtimestamp((generation / _UNFINISHED).stat().st_mtime, UTC)
        except OSError:
            return None

    def switch(self, to: Path) -> None:
        """Serve another generation from now on; whoever holds the tail lock calls it. Survives a power cut whole."""
        before = self.serving()
        self.finish(to)
        for directory in (self._folder, to):
            sync_directory(directory)
        self._link(_SERVING, to)
        if before is not None and before != to:
            self._link(_PREVIOUS, before)

    def forget_previous(self) -> None:
        """Nothing is gone back to: what was served before was wrong."""
        (self.home / _PREVIOUS).unlink(missing_ok=True)

    def prune(self) -> list[Path]:
        """Delete all generations but the one served, the previous, and those that are being built; answers which."""
        return [path for path in self.list_all() if not self._is_just_begun(path) and discard(path)]

    def _is_just_begun(self, generation: Path) -> bool:
        """Whether what builds it may be about to take its lock."""
        begun_at = self.begun_at(generation)
        if begun_at is None or (generation / LOCK_NAME).exists():
            return False
        return datetime.now(UTC) - begun_at < _SOON

    def _link(self, name: str, to: Path) -> None:
        unfinished = self.home / f"{name}.unfinished"
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(Path(_FOLDER) / to.name)
        unfinished.replace(self.home / name)
        sync_directory(self.home)


def discard(generation: Path) -> bool:
    """Delete a generation; False, and nothing deleted, where it is served, was before, or something writes it."""
    lock = TailLock(generation)
    try:
        lock.acquire()
        home = generation.parent.parent
        # Looked at under the lock, which a switch holds too: it may have come meanwhile.
        if generation in (_named_by(home, _SERVING), _named_by(home, _PREVIOUS)):
            return False
        shutil.rmtree(generation)
    except TailRunning:
        return False
    finally:
        lock.release()
    return True


def remove_version(directory: Path, version: int) -> Path:
    """Delete the home of a version that nothing writes, and answer it. Raises NotBuilt, TailRunning."""
    home = directory / f"v{version}"
    if version not in list_versions(directory):
        raise NotBuilt(f"{directory} has no version {version}")
    lock = TailLock(home)
    try:
        lock.acquire()
        building = [path.name for path in (home / _FOLDER).glob("*/") if is_held(path)]
        if not building:
            shutil.rmtree(home)
    except TailRunning:
        raise TailRunning(f"version {version} has a tail: end it first") from None
    finally:
        lock.release()
    if building:
        raise TailRunning(
            f"generation {building[0]} of version {version} is being built: wait until it is done"
        )
    return home


def sync_directory(directory: Path) -> None:
    """Have what was named, renamed and deleted in it on disk."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _named_by(home: Path, link: str) -> Path | None:
    """The generation that a link names; None if there is no link, or no generation any more."""
    named = _target(home, link)
    return named if named is not None and named.is_dir() else None


def _target(home: Path, link: str) -> Path | None:
    try:
        return home / _FOLDER / (home / link).readlink().name
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise NotBuilt(
            f"{home / link} is no symbolic link; did something that follows them copy it? Copy it anew (cp -a), or "
            f"rebuild it: stop its tail, delete {home}, start the tail again."
        ) from problem


def _list_generations(home: Path) -> list[Path]:
    folder = home / _FOLDER
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=_number)


def _number(generation: Path) -> int:
    return int(generation.name) if generation.name.isdecimal() else 0
