"""The error tree: one exit code a class, and the drawing at the top of the file is true."""

from __future__ import annotations

import re
from collections import Counter

from ulasis_backup import errors

DRAWN = {
    name: int(code)
    for name, code in re.findall(r"(?m)([A-Z]\w+) (\d+)\b", errors.__doc__ or "")
    if name in vars(errors)
}
DESIGN = {
    errors.SettingsError: range(2, 3),
    errors.ServerError: range(10, 20),
    errors.StorageError: range(20, 30),
    errors.RepositoryError: range(30, 40),
    errors.IntegrityError: range(40, 50),
    errors.Refused: range(50, 60),
}


def ours() -> tuple[type[errors.UlasisError], ...]:
    """Return the classes of the tree itself; other modules refine them without new codes."""
    return tuple(kind for kind in errors.all_errors() if kind.__module__ == errors.__name__)


def test_every_class_has_an_exit_code_of_its_own() -> None:
    counted = Counter(kind.exit_code for kind in ours())
    assert [code for code, number in counted.items() if number > 1] == []


def test_the_drawing_shows_every_class_with_its_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in ours()} == DRAWN


def test_codes_lie_in_the_range_of_their_kind() -> None:
    for kind, codes in DESIGN.items():
        for child in ours():
            assert issubclass(child, kind) == (child.exit_code in codes), child


def test_no_code_means_something_to_the_shell_or_to_python() -> None:
    for kind in ours():
        if kind is not errors.UlasisError:
            assert 2 <= kind.exit_code < 64
            assert kind.exit_code != 43  # kept for binlog gaps
    assert (errors.INTERRUPTED, errors.TERMINATED) == (130, 143)


def test_refinements_in_other_modules_keep_the_code_of_their_parent() -> None:
    for kind in errors.all_errors():
        if kind.__module__ != errors.__name__:
            assert kind.exit_code in {parent.exit_code for parent in ours()}


def test_an_error_carries_its_hint() -> None:
    error = errors.DumpFailed("it failed", hint="try again")
    assert (str(error), error.message, error.hint) == ("it failed", "it failed", "try again")
    assert errors.DumpFailed("it failed").hint == ""
