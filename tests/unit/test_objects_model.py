"""Backups of several hosts, prunes, crashes, damage, old copies and clock jumps, in any order.

A toy backup is a few pieces of plain bytes and a toy manifest. Hypothesis mixes the steps of runs
in flight with everything else; after each step every backup that no damage has hit must read back
equal, and so must every piece that an undamaged object still holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.memory import MemoryStorage
from support.objects import changed, rows
from ulasis_backup.errors import IntegrityError, Refused, StorageError
from ulasis_backup.repository.chains import Stored
from ulasis_backup.repository.objectfile import name_in, new_epoch, path_of, print_of
from ulasis_backup.repository.objects import ObjectReader, ObjectWriter
from ulasis_backup.repository.unreferenced import delete_listed, list_unreferenced

HOSTS = 2
PIECES = 3
GRACE = timedelta(days=2)
HOURS = st.sampled_from([1, 5, 13, 23, 30, 49, 49, 24 * 40, -1, -13, -30, -49, -24 * 40])
hosts = st.integers(0, HOSTS - 1)
numbers = st.integers(0, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a committed backup: where it lies, and what it must read back as."""

    stored: Stored
    data: bytes


@dataclass(slots=True, kw_only=True)
class Run:
    """A run in flight, and the pieces as they were at its moment."""

    writer: ObjectWriter
    before: list[Stored]
    data: list[bytes]
    kept: list[Stored] = field(default_factory=list)


class Objects(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.storage = MemoryStorage()
        self.live = [[rows(host * PIECES + n, 25) for n in range(PIECES)] for host in range(HOSTS)]
        self.past = [list(pieces) for pieces in self.live]
        self.runs: dict[int, Run] = {}
        self.truth: dict[str, list[Piece]] = {}
        self.whole: dict[str, bytes] = {}
        self.spoiled: set[str] = set()
        self.without_base: set[str] = set()
        self.standing_in: dict[str, str] = {}
        self.copies: list[dict[str, tuple[bytes, datetime]]] = []

    @initialize(key=st.booleans())
    def begin(self, key: bool) -> None:  # noqa: FBT001 (drawn)
        self.epoch = new_epoch(key=key)

    # The live data.

    @rule(host=hosts, number=st.integers(0, PIECES - 1), seed=numbers, count=st.integers(1, 3))
    def change_rows(self, host: int, number: int, seed: int, count: int) -> None:
        self.past[host].append(self.live[host][number])
        self.live[host][number] = changed(self.live[host][number], seed, count)

    @rule(host=hosts, number=st.integers(0, PIECES - 1), seed=numbers)
    def go_back_to_earlier_rows(self, host: int, number: int, seed: int) -> None:
        """Take rows that this or the other host had: objects of them may lie anywhere."""
        earlier = self.past[seed % HOSTS]
        self.live[host][number] = earlier[seed % len(earlier)]

    # Runs.

    @rule(host=hosts)
    def start(self, host: int) -> None:
        if host in self.runs:
            self.stop(host)
        last = [name for name in self.listed() if name.startswith(f"toy-{host}-")]
        before = [piece.stored for piece in self.truth[last[-1]]] if last else []
        known = {one.fingerprint: one for one in before}
        writer = ObjectWriter(self.storage, self.epoch, known=known)
        self.runs[host] = Run(writer=writer, before=before, data=list(self.live[host]))

    @precondition(lambda self: self.runs)
    @rule(host=hosts)
    def keep(self, host: int) -> None:
        run = self.runs.get(host)
        if run and len(run.kept) < PIECES:
            number = len(run.kept)
            base = run.before[number] if run.before else None
            run.kept.append(run.writer.keep(run.data[number], base))
            if not run.kept[-1].chain:
                self.without_base.add(run.kept[-1].name)

    @precondition(lambda self: self.runs)
    @rule(host=hosts)
    def commit(self, host: int) -> None:
        if host in self.runs:
            for _ in range(PIECES):
                self.keep(host)
            with suppress(Refused):
                self.runs[host].writer.check_before_commit(GRACE)
                self.write_manifest(host, self.runs[host])
            self.stop(host)

    def write_manifest(self, host: int, run: Run) -> None:
        name = f"toy-{host}-{len(self.truth):05}"
        pieces = zip(run.kept, run.data, strict=True)
        self.truth[name] = [Piece(stored=stored, data=data) for stored, data in pieces]
        needs = sorted({name for stored in run.kept for name in stored.objects})
        self.storage.put(name, [json.dumps(needs).encode()])

    @precondition(lambda self: self.runs)
    @rule(host=hosts)
    def crash(self, host: int) -> None:
        if run := self.runs.pop(host, None):
            left = self.storage.copy()
            run.writer.close()
            self.storage.put_back(left)

    def stop(self, host: int) -> None:
        self.runs.pop(host).writer.close()

    @rule(host=hosts)
    def back_up(self, host: int) -> None:
        self.start(host)
        self.commit(host)

    # Retention.

    @precondition(lambda self: self.listed())
    @rule(number=numbers)
    def retire(self, number: int) -> None:
        self.storage.delete(self.listed()[number % len(self.listed())])

    @rule(hours=HOURS)
    def prune(self, hours: int) -> None:
        """List what is unreferenced, and delete after some time; runs go on meanwhile."""
        list_unreferenced(self.storage, self.referenced())
        self.storage.pass_time(timedelta(hours=hours))
        delete_listed(self.storage, self.referenced, grace=GRACE)

    @rule()
    def only_list(self) -> None:
        list_unreferenced(self.storage, self.referenced())

    @rule(host=hosts, hours=st.one_of(st.just(0), HOURS))
    def delete_while_a_run_commits(self, host: int, hours: int) -> None:
        """Let a run commit right after the prune has read which backups there are."""

        def referenced() -> set[str]:
            found = self.referenced()
            self.storage.pass_time(timedelta(hours=hours))
            self.commit(host)
            return found

        delete_listed(self.storage, referenced, grace=GRACE)

    @rule(hours=HOURS)
    def pass_time(self, hours: int) -> None:
        self.storage.pass_time(timedelta(hours=hours))

    # Damage.

    @precondition(lambda self: self.stored())
    @rule(number=numbers, place=numbers, how=st.sampled_from(["flip", "cut", "remove"]))
    def damage(self, number: int, place: int, how: str) -> None:
        self.settle()
        names = self.stored()
        name = names[number % len(names)]
        path = path_of(self.epoch.id, name)
        if how == "flip":
            self.storage.damage(path, place, flip=1 + place % 255)
        elif how == "cut":
            self.storage.put(path, [self.storage.blobs[path][0][: place % 60]], replace=True)
        else:
            self.storage.delete(path)
        self.spoiled.add(name)
        self.look_at(name)

    def look_at(self, name: str) -> None:
        """Say of an object whether it is spoiled: two flips of a bit are none."""
        if name in self.whole:
            data, _ = self.storage.blobs.get(path_of(self.epoch.id, name), (None, None))
            (self.spoiled.discard if data == self.whole[name] else self.spoiled.add)(name)

    @rule(host=hosts)
    def verify_and_back_up(self, host: int) -> None:
        """Damage that a verify has found is healed by the next backup, for older ones too."""
        self.verify()
        older = {piece.stored.fingerprint for name in self.listed() for piece in self.truth[name]}
        self.back_up(host)
        names = [name for name in self.listed() if name.startswith(f"toy-{host}-")]
        newest = self.truth[names[-1]]
        assert [piece.data for piece in newest] == self.live[host]
        reader = ObjectReader(self.storage, self.epoch)
        for piece in newest:
            assert self.spoiled.isdisjoint(piece.stored.objects)
            assert reader.read(piece.stored.name) == piece.data
        held = {piece.stored.fingerprint: piece.data for piece in newest}
        for name in self.listed():
            for piece in self.truth[name]:
                if piece.stored.fingerprint in held.keys() & older:
                    assert reader.read(piece.stored.name) == piece.data

    def verify(self) -> None:
        reader = ObjectReader(self.storage, self.epoch)
        for name in self.listed():
            for piece in self.truth[name]:
                for one in piece.stored.objects:
                    try:
                        reader.read(one)
                    except (IntegrityError, StorageError):
                        assert self.spoiled
        for one in reader.damaged:
            assert one in self.spoiled
            assert reader.set_aside(one)

    # Old copies.

    @rule()
    def copy(self) -> None:
        self.settle()
        self.copies.append(self.storage.copy())

    @precondition(lambda self: self.copies)
    @rule(number=numbers)
    def put_back_a_copy(self, number: int) -> None:
        self.settle()
        self.storage.put_back(self.copies[number % len(self.copies)])
        self.standing_in.clear()
        # The copy may be from before the damage, or from behind it.
        for name in self.whole:
            self.look_at(name)

    # What must hold.

    @invariant()
    def everything_that_was_not_hit_reads_back(self) -> None:
        self.settle()
        for name in self.stored():
            self.whole.setdefault(name, self.storage.blobs[path_of(self.epoch.id, name)][0])
        reader = ObjectReader(self.storage, self.epoch)
        held = {piece.stored.fingerprint for piece in self.pieces() if self.is_whole(piece)}
        self.find_stand_ins()
        held |= self.standing_in.keys()
        for piece in self.pieces():
            if piece.stored.fingerprint in held:
                assert reader.read(piece.stored.name) == piece.data

    def teardown(self) -> None:
        for host in list(self.runs):
            self.stop(host)

    def settle(self) -> None:
        """Wait for what is stored in the background, so that a step is the same each time."""
        for run in self.runs.values():
            run.writer._uploads.finish()  # noqa: SLF001 (nothing public waits without checking)

    def listed(self) -> list[str]:
        return [blob.name for blob in self.storage.list() if blob.name.startswith("toy-")]

    def pieces(self) -> Iterator[Piece]:
        return (piece for name in self.listed() for piece in self.truth[name])

    def stored(self) -> list[str]:
        paths = sorted(self.storage.blobs)
        return [name for path in paths if (name := name_in(path))]

    def referenced(self) -> set[str]:
        names: set[str] = set()
        for name in self.listed():
            names |= set(json.loads(b"".join(self.storage.open(name))))
        return names

    def is_whole(self, piece: Piece) -> bool:
        return self.spoiled.isdisjoint(piece.stored.objects)

    def find_stand_ins(self) -> None:
        """Note which whole objects serve in place of lost ones; these may not be deleted."""
        there = set(self.stored())
        lacking = {
            piece.stored.fingerprint
            for piece in self.pieces()
            if not self.is_whole(piece) and not there.issuperset(piece.stored.objects)
        }
        for name in there & self.without_base - self.spoiled:
            if print_of(name) in lacking:
                self.standing_in.setdefault(print_of(name), name)
        for fingerprint, name in list(self.standing_in.items()):
            if fingerprint not in lacking or name in self.spoiled:
                del self.standing_in[fingerprint]


def run(machine: type[Objects], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_backup_is_ever_harmed_by_prunes_crashes_clocks_or_old_copies() -> None:
    run(Objects, 60)
