"""``test-restore``: the proof. A backup is restored in a scratch server, and everything compared.

What the scratch server holds is held against the manifest, which was made of what the server gave
when the backup was taken; then the user's own assertions are asked.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ulasis_backup.errors import (
    BlobMissing,
    CouldNotCheck,
    IntegrityError,
    LoadFailed,
    NotEqual,
    UlasisError,
    WrongKey,
)
from ulasis_backup.events import PhaseBegan, PhaseEnded
from ulasis_backup.model import ServerVersion, Verdict
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import connect
from ulasis_backup.operations.asserting import Asserted, ask
from ulasis_backup.operations.compare import Difference
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.judgement import exceptions, left_out_note
from ulasis_backup.operations.rehearsal import Rehearsal
from ulasis_backup.operations.scratch_world import (
    Programs,
    choose_programs,
    in_scratch,
    need_room,
    scratch_for,
)
from ulasis_backup.repository import repository
from ulasis_backup.repository.manifest import Manifest, details_of
from ulasis_backup.repository.names import PayloadName

MOST_SHOWN = 5
Start = Callable[[Programs, int], AbstractContextManager[ScratchServer]]
PREPARE, LOAD, COMPARE, ASSERT = "prepare", "load", "compare", "assert"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRequest:
    """How to prove backups.

    ``programs`` are folders of server programs to look in first. ``data_only`` does with a server
    of another flavour or series, where definitions cannot be compared: that proves nothing.
    ``start`` runs the scratch server, an empty one.
    """

    programs: tuple[Path, ...] = ()
    data_only: bool = False
    allow_unauthenticated: bool = False
    start: Start = scratch_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a test restore. ``problem`` is None where the verdict is proven.

    ``reason`` says why it is not, or what the proof does not cover. ``phases`` are seconds.
    ``lost`` are objects that were found missing or damaged.
    """

    name: str
    verdict: Verdict
    started_at: datetime
    finished_at: datetime
    server: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    assertions: tuple[Asserted, ...] = ()
    phases: dict[str, float] = field(default_factory=dict)
    bytes: int = 0
    manifest: Manifest | None = None
    problem: UlasisError | None = None
    lost: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(slots=True, kw_only=True)
class _Run:
    """What is known so far; it is told even when the run ends early."""

    server: ServerVersion | None = None
    phases: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    differences: tuple[Difference, ...] = ()
    assertions: tuple[Asserted, ...] = ()
    lost: frozenset[str] = frozenset()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a phase; one that is entered again is added to."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began


def try_restore(context: Context, name: PayloadName, request: ProofRequest) -> Outcome:
    """Restore backup *name* in a scratch server and compare; a failure is a result.

    Nothing outside of TMPDIR is touched, and nothing is recorded: ``prove.prove`` does that.
    """
    started, run = now(), _Run()
    manifest: Manifest | None = None
    problem: UlasisError | None = None
    try:
        manifest = repository.load_trusted(
            context.repository, name, allow_unauthenticated=request.allow_unauthenticated
        )
        _prove(context, manifest, request, run)
    except UlasisError as error:
        problem = error
    details = manifest.details if manifest else None
    return Outcome(
        name=str(name),
        verdict=_verdict(problem),
        started_at=started,
        finished_at=now(),
        server=f"{run.server.flavour} {run.server.version}" if run.server else "",
        reason=problem.message if problem else exceptions(details.text_losses if details else ()),
        notes=tuple(dict.fromkeys(run.notes)),
        differences=run.differences,
        assertions=run.assertions,
        phases=run.phases,
        bytes=details.plain.bytes if details else 0,
        manifest=manifest,
        problem=problem,
        lost=run.lost,
    )


def _verdict(problem: UlasisError | None) -> Verdict:
    """Return what *problem* says of the backup: only its own bytes and what they make count."""
    if problem is None:
        return Verdict.PROVEN
    failed = isinstance(problem, IntegrityError | BlobMissing | LoadFailed)
    certain = failed and not isinstance(problem, WrongKey)
    return Verdict.FAILED if certain else Verdict.COULD_NOT_CHECK


def _prove(context: Context, manifest: Manifest, request: ProofRequest, run: _Run) -> None:
    """Raise unless the backup is proven; what is found on the way goes to *run*."""
    name = manifest.header.payload
    details = details_of(manifest)
    chosen = choose_programs(context, manifest, request.programs, any_server=request.data_only)
    need_room(details.plain.bytes)
    with ExitStack() as stack:
        with run.phase(PREPARE):
            context.observe(PhaseBegan(name="start a scratch server", subject=name))
            scratch = stack.enter_context(request.start(chosen, details.plain.bytes))
            server = stack.enter_context(connect(scratch.login))
            run.server = server.version
            context.observe(PhaseEnded(name="start a scratch server"))
        world = in_scratch(context, chosen, scratch)
        rehearsal = Rehearsal(context=world, server=server, manifest=manifest, scratch=scratch)
        try:
            with run.phase(LOAD):
                rehearsal.load()
        finally:
            run.lost = rehearsal.lost
        with run.phase(COMPARE):
            run.differences = rehearsal.compare()
        run.notes += [*rehearsal.notes, *map(left_out_note, details.left_out)]
        with run.phase(ASSERT):
            run.assertions = _ask(context, rehearsal, manifest)
        run.notes += _not_asked(context, manifest)
    _refuse(run)
    rehearsal.refuse_unproven()


def _ask(context: Context, rehearsal: Rehearsal, manifest: Manifest) -> tuple[Asserted, ...]:
    settings = context.config.settings
    if not settings.backup_assertions:
        return ()
    context.observe(PhaseBegan(name="ask", subject="assertions"))
    found = ask(
        rehearsal.server,
        manifest.header.databases,
        settings.backup_assertions,
        made_at=datetime.fromisoformat(manifest.header.started_at),
        seconds=settings.backup_assertion_seconds,
    )
    context.observe(PhaseEnded(name="ask"))
    return found


def _not_asked(context: Context, manifest: Manifest) -> Iterator[str]:
    """Name the assertions that are about another database: a name may be mistyped."""
    for one in context.config.settings.backup_assertions:
        if one.database and one.database not in manifest.header.databases:
            yield f"assertion {one.name!r} was not asked: {one.database} is not in this backup"


def _refuse(run: _Run) -> None:
    """Raise NotEqual for what differs, and for assertions that do not hold.

    Raises CouldNotCheck where the only ones in doubt are assertions without an answer.
    """
    wrong = [str(one) for one in run.differences]
    wrong += [str(one) for one in run.assertions if one.answered and not one.holds]
    if wrong:
        raise NotEqual(
            f"it does not restore as it was: {_some(wrong)}",
            hint="do not rely on this backup; make a new one now, and look at what changed it",
        )
    late = [str(one) for one in run.assertions if not one.answered]
    if late:
        hint = "it was restored, and compared equal; raise BACKUP_ASSERTION_SECONDS, then again"
        raise CouldNotCheck(_some(late), hint=hint)


def _some(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - MOST_SHOWN} more" if len(texts) > MOST_SHOWN else ""
    return "; ".join(texts[:MOST_SHOWN]) + more
