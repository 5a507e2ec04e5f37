"""Notes of what a translation found, and texts of definitions changed outside of their quotes."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from ulasis_backup.methods.collations import Way, counterpart, default_collation
from ulasis_backup.model import Flavour, printable
from ulasis_backup.mysql.tokens import QUOTED, STRING, TABLE_TOKEN

SHOWN = 5
"""So many objects are named in one notice; all are named in problems."""

IGNORED_BY_MARIADB = range(50700, 100000)
"""MariaDB passes over ``/*!NNNNN … */`` of these versions of MySQL."""

_COLLATE = rb"(?P<word>(?i:COLLATE)[ =])(?P<collation>\w+)"
_CHARSET = rb"(?P<charset_is>CHARACTER SET |CHARSET=)(?P<charset>\w+)\b(?! COLLATE)"
_COMMENT = rb"/\*(?P<mark>M?)!(?P<version>\d+)(?P<body>[^*]*)"

Replace = Callable[[re.Match[bytes]], bytes]


class Notes:
    """Gathers what is changed and what cannot go, each about one object."""

    def __init__(self) -> None:
        self._notices: dict[str, list[str]] = {}
        self._problems: dict[str, None] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """Return one sentence for each kind of change."""
        return tuple(f"{_listed(what)}: {text}" for text, what in self._notices.items())

    @property
    def problems(self) -> tuple[str, ...]:
        """Return one sentence for each problem."""
        return tuple(self._problems)

    def notice(self, what: str, text: str) -> None:
        """Note that something about *what* is changed, as *text* says."""
        named = self._notices.setdefault(text, [])
        if what not in named:
            named.append(what)

    def problem(self, what: str, text: str) -> None:
        """Note that *what* cannot go to the target, as *text* says."""
        self._problems[printable(f"{what}: {text}")] = None


def _listed(what: list[str]) -> str:
    listed = ", ".join(what[:SHOWN])
    more = f" and {len(what) - SHOWN:,} more" if len(what) > SHOWN else ""
    return printable(f"{listed}{more}")


def outside(pattern: bytes, replace: Replace, text: bytes) -> bytes:
    """Return *text* with matches of *pattern* replaced, not those in names and strings."""

    def replaced(match: re.Match[bytes]) -> bytes:
        return match[0] if match["hit"] is None else replace(match)

    return _compiled(pattern).sub(replaced, text)


def find_outside(pattern: bytes, text: bytes) -> re.Match[bytes] | None:
    """Return the first match of *pattern* in *text* that is in no name and no string."""
    for match in _compiled(pattern).finditer(text):
        if match["hit"] is not None:
            return match
    return None


@functools.cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?P<hit>" + pattern + rb")|" + QUOTED + rb"|" + STRING, re.DOTALL)


def closing(text: bytes, begin: int) -> int:
    """Return where the bracket ends that opens at *begin*."""
    depth = 0
    for token in TABLE_TOKEN.finditer(text, begin):
        depth += {b"(": 1, b")": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return len(text)


def name_of(quoted: bytes) -> str:
    """Return the name that stands between backticks."""
    return quoted[1:-1].replace(b"``", b"`").decode("utf-8", "surrogateescape")


def explicit(text: bytes, way: Way, *, known: str = "") -> bytes:
    """Return *text* with a collation beside every character set that has none.

    *known* is the collation that the source's catalogue tells, if it does.
    """

    def added(match: re.Match[bytes]) -> bytes:
        charset = match["charset"].decode()
        fits = known.startswith(f"{charset}_") or known == charset
        collation = known if fits else default_collation(charset, way.source)
        mark = b"=" if match["charset_is"].endswith(b"=") else b" "
        return match[0] + (b" COLLATE" + mark + collation.encode() if collation else b"")

    return outside(_CHARSET, added, text)


def collated(text: bytes, way: Way, notes: Notes, what: str) -> bytes:
    """Return *text* with the collations of the target; *what* names whose text it is."""

    def mapped(match: re.Match[bytes]) -> bytes:
        name = match["collation"].decode()
        found = collation_there(name, way, notes, what)
        return match[0] if found is None else match["word"] + found.encode()

    return outside(_COLLATE, mapped, text)


def collation_there(name: str, way: Way, notes: Notes, what: str) -> str | None:
    """Return the collation of the target that stands for *name*, having noted what differs."""
    found = counterpart(name, way)
    if found is None:
        notes.problem(what, f"collation {name} is unknown to {way.there}, and none there is equal")
        return None
    if found.name != name.lower():
        how = f"; {found.differs}" if found.differs else ", which is the same"
        notes.notice(what, f"collation {name} becomes {found.name}{how}")
    elif found.differs:
        notes.notice(
            what, f"collation {name} is not quite the same on {way.there}: {found.differs}"
        )
    return found.name


def check_comments(text: bytes, way: Way, notes: Notes, what: str) -> None:
    """Note what the target would pass over in silence, in comments with a version."""

    def seen(match: re.Match[bytes]) -> bytes:
        if _passed_over(way, int(match["version"]), of_mariadb=bool(match["mark"])):
            body = match["body"].decode("utf-8", "replace").strip()
            notes.problem(what, f"{way.there} does not know {body}")
        return match[0]

    outside(_COMMENT, seen, text)


def _passed_over(way: Way, version: int, *, of_mariadb: bool) -> bool:
    major, minor, patch = way.target.numbers
    own = major * 10000 + minor * 100 + patch
    if way.target.flavour is Flavour.MYSQL:
        return of_mariadb or version > own
    return version > own or (not of_mariadb and version in IGNORED_BY_MARIADB)
