"""Names beside a database: they fit, and say whose they are; the journal's words."""

from __future__ import annotations

import pytest

from ulasis_backup.mysql.beside import Names, is_beside, new_names, parse
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.journal import State
from ulasis_backup.mysql.swap_objects import by_table, early_views, table_of

LONG = "x" * 64


@pytest.mark.parametrize("database", ["shop", LONG, "ö" * 64, "a__before_00000000", "with space"])
def test_names_fit_into_64_characters_and_are_known_again(database: str) -> None:
    names = new_names(database)
    for kind in ("restore", "before", "undone"):
        schema = getattr(names, kind)
        found = parse(schema)
        assert len(schema) <= 64
        assert found is not None
        assert (found.kind, found.id) == (kind, names.id)
        assert found.may_be_of(database)
        assert database.startswith(found.head)


def test_two_restores_of_one_database_have_different_names() -> None:
    assert new_names("shop") != new_names("shop")


@pytest.mark.parametrize(
    "name",
    [
        "shop",
        "shop__before_",
        "shop__before_0123456",
        "__before_01234567",
        "shop__after_01234567",
        "shop__before_0123456g",
    ],
)
def test_other_schemas_are_not_taken_for_ours(name: str) -> None:
    assert not is_beside(name)


def test_a_schema_is_not_taken_for_another_databases() -> None:
    found = parse(Names(database="shop", id="01234567").before)
    assert found is not None
    assert not found.may_be_of("shop2")
    assert not found.may_be_of("sho")


def test_only_states_between_old_and_new_are_incomplete() -> None:
    assert {state for state in State if state.is_incomplete} == {
        State.SWAPPING, State.OBJECTS, State.UNDOING, State.UNDO_OBJECTS,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "table"),
    [
        (
            b"CREATE DEFINER=`a`@`b` TRIGGER `t` BEFORE INSERT ON `orders` FOR EACH ROW SET @a = 1",
            "orders",
        ),
        (b"CREATE TRIGGER t AFTER UPDATE ON shop.`od``d` FOR EACH ROW SET @a = 1", "od`d"),
        (b"CREATE TRIGGER t\nAFTER DELETE\nON plain\nFOR EACH ROW SET @a = 1", "plain"),
    ],
)
def test_the_table_of_a_trigger_is_read_from_its_text(text: bytes, table: str) -> None:
    assert table_of(Definition(kind="trigger", name="t", text=text)) == table


def test_triggers_of_a_table_keep_their_order() -> None:
    ones = [
        Definition(kind="trigger", name=name, text=b"", extra={"table": table})
        for name, table in (("b", "x"), ("c", "y"), ("a", "x"))
    ]
    assert [one.name for one in by_table(ones)["x"]] == ["b", "a"]


def test_views_in_the_way_of_tables_are_found_whatever_their_letters() -> None:
    views = [Definition(kind="view", name=name, text=b"") for name in ("Totals", "best")]
    assert [one.name for one in early_views(views, {"totals"})] == ["Totals"]
