"""Cutting dumps: the same pieces however the bytes arrive, and joined again they are the dump."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support import dumps
from support.chunks import cut
from ulasis_backup.errors import DumpFailed, UlasisError
from ulasis_backup.methods.contents import Contents, read_contents
from ulasis_backup.methods.sections import Part, Piece, split
from ulasis_backup.model import ObjectKind, Position
from ulasis_backup.streams.keys import new_data_key

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30
).filter(lambda name: name[-1] != " ")
SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=6)

LIKE_HEADERS = """BEGIN
--
-- Table structure for table `fake`
--
-- Dump completed
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;
/*!40000 ALTER TABLE `orders` ENABLE KEYS */;
  SET @a = 1;
END"""

WHOLE = dumps.dump(
    dumps.SEQUENCE,
    dumps.table("orders", [f"{n},'row {n}\\n-- Dump completed'" for n in range(1, 8)]),
    dumps.trigger("first", LIKE_HEADERS),
    dumps.trigger("sec`ond", "SET @a = 'x'"),
    dumps.table("empty", []),
    dumps.table("new\nline", ["1,'x'"]),
    dumps.table("-- Table structure for table `x`", ["1,NULL", "2,NULL"], statements=2),
    dumps.placeholder("totals"),
    dumps.events(("nightly", LIKE_HEADERS.replace(";;", "")), ("week`ly", "SET @a = 1")),
    dumps.routines(("PROCEDURE", "p", LIKE_HEADERS), ("FUNCTION", "f`", "RETURN 1")),
    dumps.view("totals", "select 1 AS `n`"),
)


def joined(pieces: list[Piece]) -> list[tuple[Part, str, bytes]]:
    """Join the pieces of one section, which may be cut anywhere inside rows."""
    grouped = itertools.groupby(pieces, key=lambda piece: (piece.part, piece.name))
    return [(*key, b"".join(piece.data for piece in group)) for key, group in grouped]


def contents(data: bytes, sizes: list[int] | None = None) -> Contents:
    return read_contents(split(cut(data, sizes or [1 << 20])), None).result()


@given(sizes=SIZES)
@example(sizes=[1])
@example(sizes=[2, 3])
def test_any_chunking_gives_the_same_pieces(sizes: list[int]) -> None:
    expected = joined(list(split(iter([WHOLE]))))
    found = list(split(cut(WHOLE, sizes)))
    assert joined(found) == expected
    assert b"".join(piece.data for piece in found) == WHOLE
    assert contents(WHOLE, sizes) == contents(WHOLE)


@settings(max_examples=60)
@given(data=st.binary(max_size=400), sizes=SIZES)
def test_no_bytes_are_lost_whatever_they_are(data: bytes, sizes: list[int]) -> None:
    for text in (data, dumps.HEAD + data, WHOLE[:900] + data + WHOLE[900:]):
        assert b"".join(piece.data for piece in split(cut(text, sizes))) == text


@settings(max_examples=60)
@given(data=st.binary(max_size=300), at=st.integers(0, len(WHOLE)))
def test_reading_damaged_dumps_fails_in_our_words_or_not_at_all(data: bytes, at: int) -> None:
    damaged = WHOLE[:at] + data + WHOLE[at + len(data) :]
    try:
        contents(damaged)
    except UlasisError:
        return


def test_tables_and_objects_are_found_and_bodies_that_look_like_headers_are_not() -> None:
    found = contents(WHOLE)
    assert [table.name for table in found.tables] == [
        "orders",
        "empty",
        "new\nline",
        "-- Table structure for table `x`",
    ]
    assert [(entry.kind, entry.name) for entry in found.objects] == [
        (ObjectKind.SEQUENCE, "tickets"),
        (ObjectKind.TRIGGER, "first"),
        (ObjectKind.TRIGGER, "sec`ond"),
        (ObjectKind.EVENT, "nightly"),
        (ObjectKind.EVENT, "week`ly"),
        (ObjectKind.PROCEDURE, "p"),
        (ObjectKind.FUNCTION, "f`"),
        (ObjectKind.VIEW, "totals"),
    ]


def test_the_position_stands_in_the_head() -> None:
    assert contents(WHOLE).position == Position(file="binlog.000007", offset=4242, gtid="0-1-99")


@settings(max_examples=60)
@given(name=NAMES, sizes=SIZES)
@example(name="a\n-- b", sizes=[50])
@example(name="`\n`", sizes=[50])
@example(name="x`\n--\n-- Dumping data for table `y", sizes=[7])
def test_any_name_of_a_table_comes_out_as_it_went_in(name: str, sizes: list[int]) -> None:
    data = dumps.dump(dumps.table(name, ["1,'x'", "2,'y'"]), dumps.view(name + "v", "select 1"))
    found = contents(data, sizes)
    assert [table.name for table in found.tables] == [name]
    assert [entry.name for entry in found.objects] == [name + "v"]


@pytest.mark.parametrize("rows", [0, 1, 2, 999])
@pytest.mark.parametrize("statements", [1, 2, 5])
def test_rows_are_counted(rows: int, statements: int) -> None:
    listed = [f"{number},'a\\nb),\\n(c'" for number in range(rows)]
    for name in ("t", "a\nb", "c\n\nd"):
        for sizes in ([1 << 20], [100], [17]):
            data = dumps.dump(dumps.table(name, listed, statements=statements))
            (table,) = contents(data, sizes).tables
            assert table.rows == rows


def test_the_history_of_a_versioned_table_is_counted() -> None:
    text = dumps.table("t", ["1,'x','a','b'", "1,'y','b','c'", "2,'z','c','d'"])
    head = b"-- Dumping data for table `t`\n--\n\n"
    name = b"system_versioning_insert_history"
    history = b"/*!101100 SET @old=@@session." + name + b", @@session." + name + b"=1 */;\n"
    text = text.replace(head, head + history)
    text = text.replace(b" VALUES\n(", b"(`id`, `v`, row_start, row_end) VALUES (", 1)
    (table,) = contents(dumps.dump(text)).tables
    assert table.rows == 3


def test_a_dump_without_its_end_mark_is_not_complete() -> None:
    for length in range(0, len(WHOLE), 13):
        with pytest.raises(DumpFailed):
            contents(WHOLE[:length])
    for end in (b"\n", b"-- Dump completed\n", b"x"):
        with pytest.raises(DumpFailed):
            contents(WHOLE + end + b"x\n")


def test_an_end_mark_inside_rows_or_bodies_is_none() -> None:
    begun = dumps.HEAD + dumps.table("t", ["1,'x'"])[:-40]
    with pytest.raises(DumpFailed):
        contents(begun + b"\n-- Dump completed\n")
    with pytest.raises(DumpFailed):
        contents(dumps.HEAD + dumps.trigger("t", "BEGIN\n-- Dump completed\n")[:-120])


def test_the_date_of_an_end_mark_does_not_matter() -> None:
    dated = WHOLE[:-1] + b" on 2026-11-22  2:00:00\n"
    assert contents(dated).tables == contents(WHOLE).tables


def test_a_table_that_stands_twice_is_refused() -> None:
    with pytest.raises(DumpFailed, match="twice"):
        contents(dumps.dump(dumps.table("t", ["1,'x'"]), dumps.table("t", ["1,'x'"])))


def test_rows_of_an_unknown_table_are_refused() -> None:
    text = dumps.table("t", ["1,'x'"])
    rows_alone = text[text.index(b"\n--\n-- Dumping data") :]
    with pytest.raises(DumpFailed, match="unknown table"):
        contents(dumps.dump(rows_alone))


def test_a_changed_row_changes_the_rows_of_its_table_alone() -> None:
    changed = contents(WHOLE.replace(b"'row 3", b"'raw 3"))
    before = {table.name: table for table in contents(WHOLE).tables}
    for table in changed.tables:
        same = before[table.name]
        assert table.definition == same.definition
        assert (table.rows_digest == same.rows_digest) is (table.name != "orders")
    assert changed.plain.digest != contents(WHOLE).plain.digest


def test_auto_increment_and_sequence_positions_are_kept_apart() -> None:
    moved = WHOLE.replace(b"AUTO_INCREMENT=8 ", b"AUTO_INCREMENT=99 ").replace(
        b", 11, 0)", b", 21, 0)"
    )
    before, after = contents(WHOLE), contents(moved)
    assert [t.definition for t in before.tables] == [t.definition for t in after.tables]
    assert [o.digest for o in before.objects] == [o.digest for o in after.objects]
    assert (before.tables[0].auto_increment, after.tables[0].auto_increment) == (8, 99)
    assert (before.objects[0].position, after.objects[0].position) == (
        "DO SETVAL(`tickets`, 11, 0);",
        "DO SETVAL(`tickets`, 21, 0);",
    )


def test_the_order_of_triggers_counts() -> None:
    first, second = dumps.trigger("a", "SET @a = 1"), dumps.trigger("b", "SET @b = 1")
    table = dumps.table("orders", [])
    one = contents(dumps.dump(table, first, second)).objects
    two = contents(dumps.dump(table, second, first)).objects
    assert {(entry.name, entry.digest) for entry in one} != {
        (entry.name, entry.digest) for entry in two
    }


def test_fingerprints_of_encrypted_backups_are_keyed() -> None:
    key = new_data_key("shop-backup-2026-11-22T020000Z-4f1c")
    keyed = read_contents(split(iter([WHOLE])), key).result()
    bare = contents(WHOLE)
    for ours, theirs in zip(keyed.tables, bare.tables, strict=True):
        assert ours.rows_digest != theirs.rows_digest
        assert ours.definition != theirs.definition
    assert keyed.plain.digest != bare.plain.digest


def test_rows_are_passed_on_without_being_gathered() -> None:
    rows = [f"{number},'{'x' * 1000}'" for number in range(5000)]
    data = dumps.dump(dumps.table("t", rows))
    largest = max(len(piece.data) for piece in split(cut(data, [1 << 16])))
    assert largest <= 1 << 16
