"""The documentation, held against the code: nothing undocumented, nothing that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from ulasis_backup import errors
from ulasis_backup.cli.main import app
from ulasis_backup.settings import SECRETS, Settings

ROOT = Path(__file__).parents[2]
COMMANDS = ROOT / "docs/reference/commands.md"
SETTINGS = ROOT / "docs/reference/settings.md"
EXIT_CODES = ROOT / "docs/reference/exit-codes.md"
GENERATED = {".venv", ".tools", ".git", "node_modules"}
PAGES = sorted(
    page for page in ROOT.rglob("*.md") if not GENERATED & set(page.relative_to(ROOT).parts)
)

KEPT = {43}
"""Codes that are documented as kept for later."""

STRATEGY = (
    "node scripts/backup-database.js backup",
    "node scripts/backup-database.js list",
    "node scripts/verify-backup.js verify ",
    "node scripts/verify-backup.js test-restore ",
    "node scripts/verify-backup.js verify-all",
    "node scripts/restore-database.js list",
    "node scripts/restore-database.js restore ",
    "--skip-pre-restore-backup",
    "node scripts/test-db-connection.js",
    "0 2 * * *",
    "0 3 * * 0",
    "ls -la backups/ulasis-backup-*",
    "rm backups/",
    "tail -f /var/log/ulasis-backup.log",
    "find backups/",
    "grep ERROR",
    "SHOW TABLES",
    "SHOW GRANTS",
    "GRANT SELECT, LOCK TABLES, SHOW VIEW",
    "echo $BACKUP_ENCRYPTION_KEY",
    "df -h",
    "if [ $? -eq 0 ]",
    "SLACK_WEBHOOK_URL",
    "Audit backup access logs",
    "retained for 1 year",
    "reviewed quarterly",
    "Task Scheduler",
    "journalctl -u mysql",
    "mysql/error.log",
)
"""What the strategy document tells people to type."""

_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"(?m)^#{1,6} (.+)$")
_FENCE = re.compile(r"(?ms)^```.*?^```$")
_TABLE_CODE = re.compile(r"(?m)^\| (\d+) \|")
_PROSE_CODE = re.compile(r"(?i)(?:exit code|exit status|status) (\d+)\b")


def _commands() -> Iterator[tuple[str, Any]]:
    """Yield the full name of every command with its declaration."""
    root = typer.main.get_command(app)

    def walk(prefix: str, found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, command in found.items():
            below = getattr(command, "commands", None)
            if below:
                yield from walk(f"{prefix}{name} ", below)
            else:
                yield f"{prefix}{name}", command

    yield from walk("", getattr(root, "commands", {}))


def _options(command: Any) -> Iterator[str]:  # noqa: ANN401 (typer's own classes are private)
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield from (*parameter.opts, *parameter.secondary_opts)


def _section(text: str, heading: str) -> str:
    """Return what stands below the heading of level two that begins with *heading*."""
    match = re.search(rf"(?ms)^## {re.escape(heading)}(?: [A-Z]+)?$\n(.*?)(?=^## |\Z)", text)
    return match[1] if match else ""


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(text))
    return {title.strip().replace(" ", "-") for title in kept}


@pytest.mark.parametrize("name", [name for name, _ in _commands()])
def test_every_command_has_a_section_of_its_own(name: str) -> None:
    assert _section(COMMANDS.read_text(encoding="utf-8"), name).strip()


@pytest.mark.parametrize(("name", "command"), list(_commands()))
def test_every_option_stands_in_its_commands_section(name: str, command: object) -> None:
    section = _section(COMMANDS.read_text(encoding="utf-8"), name)

    assert [option for option in _options(command) if f"`{option}" not in section] == []


def test_every_global_option_is_documented() -> None:
    section = _section(COMMANDS.read_text(encoding="utf-8"), "Global options")
    root = typer.main.get_command(app)

    assert [option for option in _options(root) if f"`{option}" not in section] == []


def test_no_option_is_documented_that_does_not_exist() -> None:
    declared = {option for _, command in _commands() for option in _options(command)}
    declared |= {*_options(typer.main.get_command(app)), "--help", "-h"}
    documented = re.findall(r"(?m)`(--?[a-z][a-z-]*)", COMMANDS.read_text(encoding="utf-8"))

    assert set(documented) - declared == set()


def test_every_setting_has_a_row_with_its_default() -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"(?m)^\| `([A-Z_]+)` \| [^|]+ \| ([^|]+) \|", text))
    missing = [name for name in Settings.model_fields if name.upper() not in rows]
    wrong = {
        name: rows[name.upper()]
        for name, field in Settings.model_fields.items()
        if name.upper() in rows and _default(field.default) not in rows[name.upper()]
    }

    assert missing == []
    assert wrong == {}


def test_no_setting_is_documented_that_does_not_exist() -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    documented = set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", text))

    assert documented - {name.upper() for name in Settings.model_fields} == set()


def test_every_secret_can_be_given_as_a_file() -> None:
    text = SETTINGS.read_text(encoding="utf-8")

    assert [name for name in SECRETS if f"`{name.upper()}_FILE`" not in text] == []


def test_every_error_stands_with_its_exit_code() -> None:
    text = EXIT_CODES.read_text(encoding="utf-8")
    public = [error for error in errors.all_errors() if error.__module__ == errors.__name__]

    assert [
        error.__name__
        for error in public
        if f"| {error.exit_code} | `{error.__name__}` |" not in text
    ] == []


def test_the_codes_of_signals_are_documented() -> None:
    codes = {int(code) for code in _TABLE_CODE.findall(EXIT_CODES.read_text(encoding="utf-8"))}

    assert {0, errors.INTERRUPTED, errors.TERMINATED, errors.UNEXPECTED} <= codes


def test_every_exit_code_in_the_table_exists() -> None:
    codes = {int(code) for code in _TABLE_CODE.findall(EXIT_CODES.read_text(encoding="utf-8"))}

    assert codes - _existing_codes() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_exit_code_in_the_text_exists(page: Path) -> None:
    named = {int(code) for code in _PROSE_CODE.findall(page.read_text(encoding="utf-8"))}

    assert named - _existing_codes() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        known = not anchor or (target.suffix == ".md" and target.is_file())
        if not target.exists() or not known or (anchor and anchor not in _anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("typed", STRATEGY)
def test_the_readme_maps_what_the_strategy_types(typed: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]

    assert any(typed in row for row in rows)


def test_the_start_here_table_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`([a-z_/.]+[/.][a-z]*)`", row)}
    package = ROOT / "src/ulasis_backup"

    assert named
    assert [name for name in sorted(named) if not (package / name).exists()] == []


def _existing_codes() -> set[int]:
    codes = {error.exit_code for error in errors.all_errors()}
    return codes | KEPT | {0, errors.INTERRUPTED, errors.TERMINATED, errors.UNEXPECTED}


def _default(value: object) -> str:
    """Return how the table shows the default *value*."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, int | str | Path) else ""
    return f"`{text}`" if text else ""
