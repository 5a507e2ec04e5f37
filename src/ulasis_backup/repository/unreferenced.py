"""Deleting objects that no backup needs, in two steps, without locks.

Names are never used again, so an object that was deleted wrongly could only be one that a backup
in flight reuses, or has just stored. docs/design.md, Deleting objects, proves that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from ulasis_backup.errors import Refused
from ulasis_backup.repository import marks
from ulasis_backup.repository.marks import UnreferencedList
from ulasis_backup.repository.objectfile import name_in, path_of, print_of
from ulasis_backup.repository.objects import objects_of
from ulasis_backup.storage.base import Blob, Storage

LONGEST_LIST = 100_000
THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What was deleted: objects, and their bytes as files."""

    objects: int
    bytes: int


def list_unreferenced(storage: Storage, referenced: AbstractSet[str]) -> int:
    """List the objects that are not *referenced* and on no list; return how many they are.

    *referenced* are the names of all objects, bases too, that the backups in the storage need:
    all of them, else what is missing may be deleted later. An object that was listed before its
    backup was there is taken off its list, whose time begins anew.
    """
    there = _there(storage)
    needed = _needed(referenced, there)
    listed: set[str] = set()
    for one in marks.lists(storage):
        left = one.paths & there.keys()
        still = {path for path in left if name_in(path) not in needed}
        if still != left or not left:
            _shorten(storage, one, still)
        listed |= still
    new = sorted(path for path in there if name_in(path) not in needed and path not in listed)
    for begin in range(0, len(new), LONGEST_LIST):
        marks.put_list(storage, new[begin : begin + LONGEST_LIST])
    return len(new)


def waiting(storage: Storage) -> int:
    """Return how many objects are on a list: needed by no backup, deleted once it is old enough."""
    return len({path for one in marks.lists(storage) for path in one.paths})


def delete_listed(
    storage: Storage, referenced: Callable[[], AbstractSet[str]], *, grace: timedelta
) -> Deleted:
    """Delete what has been on a list for longer than *grace* and is not referenced.

    *referenced* is called at most once, after the moment from which the age of lists is counted: it
    must then read which backups there are, and return the names of all objects that they need; it
    raises if it cannot read one of them, and nothing is deleted. Raises Refused when the storage
    was replaced meanwhile. May be repeated at any time, whatever became of the last attempt.
    """
    now = marks.now(storage)
    old = {one.name for one in marks.lists(storage) if now - one.written_at > grace}
    if not old:
        _sweep(storage, now, grace)
        return Deleted(objects=0, bytes=0)
    # The order counts: the time, then the mark that runs look for, then what is referenced, then
    # what is still listed.
    mark = marks.put(storage, marks.DELETING, lists=old)
    try:
        named = referenced()
        lists = [one for one in marks.lists(storage) if one.name in old]
        there = _there(storage)
        needed = _needed(named, there)
        doomed = {path for one in lists for path in one.paths if name_in(path) not in needed}
        doomed &= there.keys()
        _delete(storage, mark, doomed)
        for one in lists:
            if not one.paths & (there.keys() - doomed):
                storage.delete(one.name)
        _sweep(storage, now, grace)
        return Deleted(objects=len(doomed), bytes=sum(there[path] for path in doomed))
    finally:
        storage.delete(mark.name)


def _there(storage: Storage) -> dict[str, int]:
    """Return path and size of every object of every epoch."""
    return {
        path_of(epoch, name): size
        for epoch in marks.epochs(storage)
        for name, size in objects_of(storage, epoch).items()
    }


def _needed(referenced: AbstractSet[str], there: Iterable[str]) -> AbstractSet[str]:
    """Return what must stay: the *referenced*, and what could serve where one of them is lost.

    Which backups a lost object is read for is not known here, so that then every object stays
    which has the same fingerprint as a referenced one.
    """
    names = {name for path in there if (name := name_in(path))}
    if referenced <= names:
        return referenced
    prints = {print_of(name) for name in referenced}
    return referenced | {name for name in names if print_of(name) in prints}


def _shorten(storage: Storage, one: UnreferencedList, still: AbstractSet[str]) -> None:
    if still:
        marks.put_list(storage, still)
    storage.delete(one.name)


def _delete(storage: Storage, mark: Blob, paths: AbstractSet[str]) -> None:
    if storage.stat(mark.name) != mark:
        message = "the storage was replaced while a prune was about to delete objects"
        raise Refused(message, hint="nothing was deleted; prune again")
    with ThreadPoolExecutor(THREADS, thread_name_prefix="delete") as pool:
        list(pool.map(storage.delete, sorted(paths)))


def _sweep(storage: Storage, now: datetime, grace: timedelta) -> None:
    """Remove the marks of runs and prunes that were killed; who lives on so long will refuse."""
    for blob in storage.list(marks.FOLDER):
        passing = blob.name.startswith((marks.RUN, marks.NOW, marks.DELETING))
        if passing and now - blob.modified_at > grace:
            storage.delete(blob.name)
