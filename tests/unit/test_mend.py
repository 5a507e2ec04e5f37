"""Triggers' names, quoted where a dump program does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.dumps import quoted
from ulasis_backup.errors import SchemaChanged
from ulasis_backup.methods.mend import quote_triggers
from ulasis_backup.methods.sections import Part, Piece

NAMES = ["plain", "odd name; x", "ba`ck", "x */; DROP DATABASE prod; -- ", "two\nlines", "`x`", "x"]
NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def section(printed: list[str], body: str = "SET @a = 1") -> Piece:
    """Return a section as it follows a table's rows."""
    text = "".join(
        f"/*!50003 SET sql_mode = '' */ ;\n/*!50032 DROP TRIGGER IF EXISTS {name} */;\n"
        f"DELIMITER ;;\n/*!50003 CREATE*/ /*!50003 TRIGGER t BEFORE INSERT ON a {body} */;;\n"
        "DELIMITER ;\n"
        for name in printed
    )
    return Piece(Part.AFTER_ROWS, "a", text.encode())


@pytest.mark.parametrize("name", NAMES)
def test_a_bare_name_is_quoted(name: str) -> None:
    (found,) = quote_triggers([section([name])], [name])
    assert found == section([quoted(name)])


@given(st.lists(NAME, unique=True, min_size=1, max_size=4))
def test_quoted_names_stay_as_they_are(names: list[str]) -> None:
    piece = section([quoted(name) for name in names])
    assert list(quote_triggers([piece], names)) == [piece]


def test_a_name_that_is_its_own_quotes_is_told_from_a_quoted_one() -> None:
    (found,) = quote_triggers([section(["x", "`x`"])], ["x", "`x`"])
    assert found == section(["`x`", "```x```"])


def test_a_trigger_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SchemaChanged, match="trigger new was created"):
        list(quote_triggers([section(["new"])], ["old"]))


def test_the_new_trigger_is_named_not_the_old_one() -> None:
    with pytest.raises(SchemaChanged, match="trigger `new` was created"):
        list(quote_triggers([section(["`old`", "`new`"])], ["old"]))


def test_what_looks_like_a_drop_inside_of_a_body_is_left_alone() -> None:
    body = "SET @a = '\n/*!50032 DROP TRIGGER IF EXISTS ghost */;\n'"
    (found,) = quote_triggers([section(["x", "y"], body)], ["x", "y"])
    assert found == section(["`x`", "`y`"], body)


def test_rows_and_routines_are_left_alone() -> None:
    pieces = [Piece(part, "a", section(["x"]).data) for part in (Part.ROWS, Part.ROUTINES)]
    assert list(quote_triggers(pieces, ["x"])) == pieces
