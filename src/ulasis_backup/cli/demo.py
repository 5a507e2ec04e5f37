"""``demo``: tells the story while it happens."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from ulasis_backup.cli.render import add, rate, size, table
from ulasis_backup.cli.session import Session
from ulasis_backup.errors import NotEqual
from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.load import describe
from ulasis_backup.model import TextLoss, Verdict
from ulasis_backup.observers.log import configure, log_events
from ulasis_backup.operations.backup import MadeBackup
from ulasis_backup.operations.check import check
from ulasis_backup.operations.compare import Comparison
from ulasis_backup.operations.demo import (
    COPY,
    DATABASE,
    DemoWorld,
    back_up_rows,
    back_up_sample,
    compare_with,
    demo_world,
    strike,
)
from ulasis_backup.operations.prove import prove
from ulasis_backup.operations.restore import RestoreRequest, restore
from ulasis_backup.operations.test_restore import ProofRequest
from ulasis_backup.operations.verify import verify
from ulasis_backup.repository.repository import listing


def run_demo(session: Session) -> dict[str, Any]:
    """Run the whole cycle, telling each step; return what happened, for ``--json``.

    Raises NotEqual if the restored database is not equal to the backup.
    """
    configure(session.verbosity, "text")
    step = _Story(session)
    step("1. Start a private MariaDB with a sample database (businesses, reviews, orders …)")
    with demo_world(log_events()) as world:
        made = _tell_of_backup(step, world)
        checked = _tell_of_checks(step, world, made)
        disaster = _tell_of_disaster(step, world, made)
        restored = _tell_of_restore(step, world, made)
        by_rows = _tell_of_rows(step, world)
    return {
        "backup": str(made.name),
        **checked,
        "disaster": disaster,
        **restored,
        "rows_method": by_rows,
        "text_losses": [describe(loss) for loss in _losses(made)],
        "database": DATABASE,
    }


def _tell_of_backup(step: _Story, world: DemoWorld) -> MadeBackup:
    step("2. Check: may we read everything, is the storage sound?")
    findings = list(check(world.context))
    step.say(*(f"   {finding.state:8} {finding.name}: {finding.message}" for finding in findings))
    step("3. Back up: mariadb-dump → gzip → AES-256 → checksums → manifest, last")
    made = back_up_sample(world)
    header, details = made.manifest.header, made.manifest.details
    plain = details.plain.bytes if details else 0
    step.say(
        f"   {made.name}",
        f"   {size(plain)} stored in {size(header.stored.bytes)}, "
        f"{made.seconds:.1f} s ({rate(plain, made.seconds)})",
    )
    step("4. List what is in the repository")
    step.say(*(f"   {entry.name}" for entry in listing(world.context.repository).entries))
    return made


def _tell_of_checks(step: _Story, world: DemoWorld, made: MadeBackup) -> dict[str, Any]:
    step("5. Verify: is every stored byte authentic, and is it a whole dump?")
    verified = verify(world.context, made.name)
    step.say(f"   {verified.verdict}, {verified.seconds:.1f} s")
    step("6. Prove it: restore it in a scratch server, and compare everything there")
    proven = prove(world.context, made.name, ProofRequest())
    reason = f" {proven.reason}" if proven.reason else ""
    step.say(f"   {proven.verdict}{reason}, {proven.seconds:.1f} s")
    if proven.verdict is not Verdict.PROVEN:
        raise NotEqual(f"the backup was not proven: {proven.reason}")
    return {"verdict": str(verified.verdict), "proof": str(proven.verdict)}


def _tell_of_disaster(step: _Story, world: DemoWorld, made: MadeBackup) -> dict[str, Any]:
    step("7. A disaster happens")
    step.say(*(f"   {statement};" for statement in strike(world)))
    contents, broken = compare_with(world, made)
    step.say(_comparison(contents, broken, _lossy(made)))
    return {"differences": [str(found) for found in broken.differences]}


def _tell_of_restore(step: _Story, world: DemoWorld, made: MadeBackup) -> dict[str, Any]:
    step("8. Restore: save what is there, load beside it, compare, swap in one statement")
    request = RestoreRequest(name=made.name)
    restored = restore(world.context, request, confirm=lambda _: True)
    names = restored.plan.names
    step.say(
        f"   {restored.seconds:.1f} s; the damaged state is kept in "
        f"{restored.safety.name if restored.safety else '(none)'}",
        f"   and, to swap back (`undo`), in the schema {names.before}" if names else "",
    )
    step("9. Compare every table with the backup: before the disaster, and now")
    contents, whole = compare_with(world, made)
    step.say(_comparison(contents, whole, _lossy(made)))
    losses = _losses(made)
    step.say(*(f"   * the text of a dump loses some: {describe(loss)}" for loss in losses))
    rest = [f"{entry.kind} {entry.name}" for entry in contents.objects]
    step.say(f"   {len(rest)} other objects are equal too: {', '.join(rest)}")
    differences = [str(found) for found in whole.differences]
    if not whole.equal:
        raise NotEqual(f"not equal after the restore: {'; '.join(differences)}")
    return {
        "rows": sum(entry.rows or 0 for entry in contents.tables),
        "tables": len(contents.tables),
        "restored": {"differences": differences, "equal": whole.equal},
    }


def _losses(made: MadeBackup) -> tuple[TextLoss, ...]:
    return made.manifest.details.text_losses if made.manifest.details else ()


def _lossy(made: MadeBackup) -> set[str]:
    return {loss.table for loss in _losses(made)}


def _tell_of_rows(step: _Story, world: DemoWorld) -> dict[str, Any]:
    """Back up by rows, twice, restore the second beside the original, and compare."""
    step("10. The method rows: off the wire, exact, and each range of rows is stored once")
    first, second = back_up_rows(world)
    step.say(f"   {_rows_line(first)}", "   1 % of the reviews change", f"   {_rows_line(second)}")
    request = RestoreRequest(name=second.name, target=COPY)
    copied = restore(world.context, request, confirm=lambda _: True)
    equal = copied.comparison is not None and copied.comparison.equal
    found = "compared row by row: equal" if equal else "NOT compared"
    step.say(f"   restored as {COPY} in {copied.seconds:.1f} s, {found}")
    return {
        "first_bytes": first.manifest.added_bytes,
        "second_bytes": second.manifest.added_bytes,
        "equal": equal,
    }


def _rows_line(made: MadeBackup) -> str:
    details = made.manifest.details
    plain = details.plain.bytes if details else 0
    return f"{size(plain)} stored in {size(made.manifest.added_bytes)}, {made.seconds:.1f} s"


class _Story:
    """Says steps and facts, unless the output is JSON."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, title: str) -> None:
        self.say(f"\n{title}")

    def say(self, *parts: str | Table) -> None:
        if not self._session.json:
            self._session.show(None, *parts)


def _comparison(contents: Contents, found: Comparison, lossy: set[str]) -> Table:
    """Return a table with a row for each table: rows in the backup, rows now, verdict."""
    now = {entry.name: entry for entry in found.actual.tables}
    rows = table("   Table", "In the backup", "Now", "", right=("In the backup", "Now"))
    for entry in contents.tables:
        got = now.pop(entry.name, None)
        if got is None:
            add(rows, f"   {entry.name}", f"{entry.rows:,}", "missing", "LOST")
            continue
        equal = (entry.rows_digest, entry.definition) == (got.rows_digest, got.definition)
        verdict = "equal" if equal else "DIFFERENT"
        verdict += " *" if equal and entry.name in lossy else ""
        add(rows, f"   {entry.name}", f"{entry.rows:,}", f"{got.rows:,}", verdict)
    for name, got in now.items():
        add(rows, f"   {name}", "-", f"{got.rows:,}", "NOT IN THE BACKUP")
    for difference in found.differences:
        if difference.kind != "table":
            add(rows, f"   {difference}", "", "", "DIFFERENT")
    return rows
