"""Loading the tables of a dump with several client programs, each with tables of its own.

Every client is fed by a reader of its own, which skips what is others': reading a dump costs a few
percent of loading it, and so no client waits for a table of another. All tables are created before,
by one client: servers refuse DDL on tables that foreign keys join while others work on them.
"""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ulasis_backup.methods import load
from ulasis_backup.methods.sections import Part, Piece, split
from ulasis_backup.mysql.server import Server
from ulasis_backup.streams.pipeline import Chunks

WORTH_IT = 32 << 20
"""Bytes of rows from which on it is worth while to begin a second client."""

MOST_IN_ONE = 0.9
"""Where one table has more of the rows than this, the others would be done long before it."""

ROWS = frozenset({Part.ROWS_HEAD, Part.ROWS, Part.AFTER_ROWS})
MADE_FIRST = frozenset({Part.HEAD, Part.SEQUENCE, Part.TABLE, Part.FOOT})
AROUND = frozenset({Part.HEAD, Part.FOOT})


@dataclass(frozen=True, slots=True)
class Taken:
    """What is left of a piece of a dump: as it is ``read`` along, and as it is ``fed``."""

    read: Piece
    fed: Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """A dump that can be opened several times at once, and what is loaded of it.

    ``texts`` are its pieces without rows, in their order. ``take`` says what is left of a piece,
    None for nothing; threads call it together. ``read`` is told of all that is left, in order.
    """

    open: Callable[[], Chunks]
    texts: Sequence[Piece]
    take: Callable[[Piece], Taken | None]
    read: Callable[[Piece], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to: *schema* of *server*, with the client program in the folder, if one is given."""

    server: Server
    schema: str
    programs_folder: Path | None = None


def share(sizes: Mapping[str, int], most: int) -> tuple[frozenset[str], ...]:
    """Return at most *most* sets of tables with about as many bytes of rows each.

    *sizes* are the bytes of each table's rows. One set where more would not help.
    """
    total, largest = sum(sizes.values()), max(sizes.values(), default=0)
    if most == 1 or total < WORTH_IT or largest > MOST_IN_ONE * total:
        return (frozenset(sizes),)
    shares: list[set[str]] = [set() for _ in range(min(most, len(sizes)))]
    filled = [0] * len(shares)
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        lightest = filled.index(min(filled))
        shares[lightest].add(name)
        filled[lightest] += sizes[name]
    return tuple(frozenset(names) for names in shares)


def load_tables(
    dump: Dump,
    target: Target,
    shares: Sequence[frozenset[str]],
    *,
    on_bytes: Callable[[int], None],
) -> None:
    """Feed *dump* to one client program for each of *shares*.

    Raises LoadFailed, and what reading and taking raise: the first error of any client, and then
    none of them is running any more.
    """
    crew = _Crew(dump, target, on_bytes)
    if len(shares) == 1:
        crew.work(lambda _: True, lead=True, made=False)
        return
    crew.make_tables()
    others = shares[1:]
    taken = frozenset[str]().union(*others)
    with ThreadPoolExecutor(len(shares), thread_name_prefix="load") as pool:
        # The first takes whatever no other does: nothing can be left out.
        running = [pool.submit(crew.work, lambda name: name not in taken, lead=True)]
        running += [pool.submit(crew.work, mine.__contains__, lead=False) for mine in others]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for one in running:
                if one in done:
                    one.result()
        except BaseException:
            crew.end()
            raise


class _Ended(Exception):
    """The load is given up."""


class _Crew:
    """What the clients have in common."""

    def __init__(self, dump: Dump, target: Target, on_bytes: Callable[[int], None]) -> None:
        self._dump = dump
        self._target = target
        # Asked for here: a session is for one thread.
        self._session = load.session_settings(target.server)
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._done = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ended = threading.Event()

    def make_tables(self) -> None:
        """Make all tables and sequences, without rows."""
        texts = (piece for piece in self._dump.texts if piece.part in MADE_FIRST)
        taken = (self._dump.take(piece) for piece in texts)
        self._feed(found.fed for found in taken if found)

    def work(self, own: Callable[[str], bool], *, lead: bool, made: bool = True) -> None:
        """Load the tables that are our *own*; the *lead* reads along whatever is left of the dump.

        Without *made* tables are not there yet, and are made by it.
        """
        self._feed(self._pieces(own, lead=lead, made=made))

    def end(self) -> None:
        """End every client, also one that is busy."""
        self._ended.set()
        with self._lock:
            for process in self._processes:
                process.kill()

    def _pieces(self, own: Callable[[str], bool], *, lead: bool, made: bool) -> Iterator[Piece]:
        for piece in split(self._dump.open()):
            if self._ended.is_set():
                raise _Ended
            ours = own(piece.name) if piece.part in ROWS else not made or piece.part in AROUND
            found = self._dump.take(piece) if ours or lead else None
            if found and lead:
                self._dump.read(found.read)
            if found and ours:
                yield found.fed
            if (ours and piece.part in ROWS) or (lead and piece.part not in ROWS):
                self._count(len(piece.data))

    def _feed(self, pieces: Iterable[Piece]) -> None:
        target = self._target
        flavour = target.server.version.flavour
        chunks = (data for piece in pieces for data in load.for_client(piece, flavour))
        load.feed(
            itertools.chain([self._session], chunks), target.server, target.schema,
            programs_folder=target.programs_folder, started=self._begun,
        )  # fmt: skip

    def _begun(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.append(process)
        if self._ended.is_set():
            process.kill()

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._on_bytes(self._done)
