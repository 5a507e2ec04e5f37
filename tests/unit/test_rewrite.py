"""Another schema's name: every qualifier is rewritten, nothing else is, and doubt is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ulasis_backup.errors import Refused
from ulasis_backup.methods.rewrite import Rename, names_in_strings, rewrite, rewrite_piece
from ulasis_backup.methods.sections import Part, Piece

KNOWN = frozenset({"t", "log", "seq", "f", "p", "v", "select", "a`b", "wörter"})
RENAME = Rename(old="shop", new="copy", known=KNOWN)


def renamed(text: str, rename: Rename = RENAME) -> str:
    return rewrite(text.encode(), rename, where="trigger x").decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ON shop.t FOR", "ON `copy`.t FOR"),
        ("`shop`.`t`", "`copy`.`t`"),
        ("`shop` . `t`", "`copy` . `t`"),
        ("shop/* x */./* y */t", "`copy`/* x */./* y */t"),
        ("shop\n.\nt", "`copy`\n.\nt"),
        ("shop.`a``b`", "`copy`.`a``b`"),
        ("shop.wörter", "`copy`.wörter"),
        ("shop.t.id = shop.log.id", "`copy`.t.id = `copy`.log.id"),
        ("/*!50003 TRIGGER shop.p ON shop.t */", "/*!50003 TRIGGER `copy`.p ON `copy`.t */"),
        ("/*!50003 shop.t*/", "/*!50003 `copy`.t*/"),
        ("/*M!100100 shop.t*/", "/*M!100100 `copy`.t*/"),
        ("nextval(`shop`.`seq`)", "nextval(`copy`.`seq`)"),
        ("'a' shop.t 'b'", "'a' `copy`.t 'b'"),
        ("'it''s' shop.t", "'it''s' `copy`.t"),
        ("'\\'' shop.t '\\''", "'\\'' `copy`.t '\\''"),
        ("'\\\\' shop.t", "'\\\\' `copy`.t"),
        ("-- it's\nshop.t", "-- it's\n`copy`.t"),
        ("# it's\nshop.t", "# it's\n`copy`.t"),
        ("1-shop.f(2)", "1-`copy`.f(2)"),
        ("1--shop.f(2)", "1--`copy`.f(2)"),
        ("(shop.t)", "(`copy`.t)"),
        ("@a:=shop.f(1)", "@a:=`copy`.f(1)"),
    ],
)
def test_qualifiers_are_rewritten(text: str, expected: str) -> None:
    assert renamed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "'shop.t'",
        '"shop.t"',
        "'it''s shop.t'",
        "'\\' shop.t'",
        "-- shop.t\n",
        "--\tshop.t\n",
        "# shop.t\n",
        "/* shop.t */",
        "/* it's shop.t */",
        "`x shop.t`",
        "`shop.t`",
        "workshop.t",
        "shops.t",
        "shop_1.t",
        "shop$.t",
        "myshop . t",
        "'user'@`shop`.t",
        "DEFINER=`shop`@`localhost`",
        "DEFINER=`root`@`shop`",
        "x.shop",
        "x.`shop`.y",
        "SELECT shop FROM t",
        "@shop",
        "",
        "'unclosed shop",
    ],
)
def test_what_is_no_qualifier_stays(text: str) -> None:
    assert renamed(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "shop.unknown",
        "`shop`.`unknown`",
        "shop.",
        "shop.1",
        "shop.*",
        "SELECT shop.id FROM orders shop",
        "SELECT shop.t FROM orders AS shop",
        "Shop.t",
        "SHOP.t",
        "`Shop`.`t`",
        "DECLARE shop INT; SELECT shop.t",
        "shop.T",
    ],
)
def test_what_could_be_something_else_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        renamed(text)
    assert "trigger x" in refused.value.message
    assert refused.value.hint


def test_the_mode_of_each_object_decides_what_a_string_is() -> None:
    set_mode = "/*!50003 SET sql_mode              = '{}' */ ;;\n"
    plain, ansi = set_mode.format(""), set_mode.format("PIPES_AS_CONCAT,ANSI_QUOTES")
    bare = set_mode.format("NO_BACKSLASH_ESCAPES")
    assert renamed(ansi + '"shop"."t"') == ansi + '`copy`."t"'
    assert renamed(plain + '"shop"."t"') == plain + '"shop"."t"'
    assert renamed(ansi + '"shop"."t"' + plain + '"shop.t"').endswith(
        '`copy`."t"' + plain + '"shop.t"'
    )
    assert renamed(bare + "'\\' shop.t '\\'") == bare + "'\\' `copy`.t '\\'"
    assert renamed(plain + "'\\' shop.t '") == plain + "'\\' shop.t '"


def test_alter_database_around_routines_is_rewritten() -> None:
    text = "ALTER DATABASE `shop` CHARACTER SET latin1 COLLATE latin1_german1_ci ;;\nSELECT 1"
    assert renamed(text) == text.replace("`shop`", "`copy`")
    assert renamed("alter  database shop character set latin1") == (
        "alter  database `copy` character set latin1"
    )


@given(new=st.text(min_size=1, max_size=12))
def test_any_new_name_is_quoted(new: str) -> None:
    rename = Rename(old="shop", new=new, known=KNOWN)
    assert renamed("shop.t", rename) == "`" + new.replace("`", "``") + "`.t"


@given(old=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12))
@example(old="a`b")
@example(old="'")
@example(old="select")
@example(old="ß")
@example(old="/*")
def test_any_old_name_is_found_when_quoted(old: str) -> None:
    rename = Rename(old=old, new="copy", known=KNOWN)
    quoted = "`" + old.replace("`", "``") + "`"
    assert renamed(f"ON {quoted}.`t` 'x'", rename) == "ON `copy`.`t` 'x'"


@given(data=st.binary(max_size=200))
def test_text_without_the_name_is_never_touched(data: bytes) -> None:
    rename = Rename(old="no such name", new="copy", known=KNOWN)
    assert rewrite(data, rename, where="x") == data


@given(data=st.text("shop.t`'\"/*!-# \n\\@;", max_size=40))
def test_a_rewritten_text_is_the_old_one_but_for_the_name(data: str) -> None:
    try:
        found = renamed(data)
    except Refused:
        return
    if "copy" in found:
        assert found.replace("`copy`", "shop") == data.replace("`shop`", "shop") or "`" in data
    else:
        assert found == data


@pytest.mark.parametrize("part", Part)
def test_rows_and_comments_of_the_dump_are_never_touched(part: Part) -> None:
    piece = Piece(part, "x", b"INSERT INTO shop.t VALUES ('shop.t')")
    found = rewrite_piece(piece, RENAME)
    untouched = {Part.HEAD, Part.FOOT, Part.ROWS, Part.ROWS_HEAD, Part.SEQUENCE}
    untouched |= {Part.VIEW_PLACEHOLDER}
    assert (found == piece) is (part in untouched)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("PREPARE s FROM 'DELETE FROM shop.t'", True),
        ("SET @s = CONCAT('DELETE FROM `shop` . ', t)", True),
        ("'SHOP.t'", True),
        ("'a shop'", False),
        ("shop.t", False),
        ("-- shop.t\n", False),
    ],
)
def test_strings_that_name_the_schema_are_noticed(text: str, *, named: bool) -> None:
    assert names_in_strings(text.encode(), "shop") is named
