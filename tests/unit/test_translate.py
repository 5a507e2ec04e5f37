"""Rules by which definitions of one server become those of another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ulasis_backup.errors import SettingsError
from ulasis_backup.methods.collations import Way, counterpart, default_collation
from ulasis_backup.methods.index import Range, TableHead, TableRows
from ulasis_backup.methods.target import trial_text
from ulasis_backup.methods.translate import Translation, translate, translate_options
from ulasis_backup.model import DatabaseOptions, Flavour, ObjectKind, ServerVersion
from ulasis_backup.mysql.columns import AS_TEXT, Column, RowSource
from ulasis_backup.mysql.definitions import TABLE, Definition


def mariadb(version: str) -> ServerVersion:
    return ServerVersion(flavour=Flavour.MARIADB, version=f"{version}-MariaDB")


def mysql(version: str) -> ServerVersion:
    return ServerVersion(flavour=Flavour.MYSQL, version=version)


OLD, NEW, MYSQL = mariadb("10.11.18"), mariadb("11.8.9"), mysql("9.7.0")
END = ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


def table(*items: str, end: str = END, name: str = "t") -> Definition:
    inner = ",\n  ".join(items)
    text = f"CREATE TABLE `{name}` (\n  {inner}\n{end}"
    return Definition(kind=TABLE, name=name, text=text.encode())


def made(
    definition: Definition, source: ServerVersion = OLD, target: ServerVersion = MYSQL
) -> Translation:
    return translate([definition], [], source=source, target=target)


def item(shown: str, source: ServerVersion = OLD, target: ServerVersion = MYSQL) -> str:
    """Return one item of a table, translated."""
    found = made(table(shown), source, target)
    assert found.problems == ()
    text = found.definitions[0].text.decode()
    return text.removeprefix("CREATE TABLE `t` (\n  ").removesuffix(f"\n{END}")


@pytest.mark.parametrize(
    ("name", "source", "target", "there"),
    [
        ("utf8mb4_0900_ai_ci", MYSQL, OLD, "utf8mb4_uca1400_nopad_ai_ci"),
        ("utf8mb4_0900_ai_ci", MYSQL, NEW, "utf8mb4_0900_ai_ci"),
        ("utf8mb4_0900_ai_ci", MYSQL, mariadb("11.4.5"), "utf8mb4_0900_ai_ci"),
        ("utf8mb4_0900_ai_ci", MYSQL, mariadb("11.7.1"), "utf8mb4_uca1400_nopad_ai_ci"),
        ("utf8mb4_0900_ai_ci", MYSQL, mariadb("10.6.1"), None),
        ("utf8mb4_es_trad_0900_as_cs", MYSQL, OLD, "utf8mb4_uca1400_spanish2_nopad_as_cs"),
        ("utf8mb4_zh_0900_as_cs", MYSQL, NEW, None),
        ("utf8mb4_0900_bin", MYSQL, OLD, "utf8mb4_nopad_bin"),
        ("utf8mb4_croatian_ci", MYSQL, OLD, "utf8mb4_croatian_mysql561_ci"),
        ("gb18030_bin", MYSQL, NEW, None),
        ("utf8mb4_general_ci", MYSQL, OLD, "utf8mb4_general_ci"),
        ("utf8mb4_uca1400_ai_ci", NEW, MYSQL, None),
        ("utf8mb4_uca1400_nopad_ai_ci", NEW, MYSQL, "utf8mb4_0900_ai_ci"),
        ("utf8mb4_uca1400_german2_nopad_as_cs", NEW, MYSQL, "utf8mb4_de_pb_0900_as_cs"),
        ("utf8mb4_uca1400_german2_nopad_as_ci", NEW, MYSQL, None),
        ("utf8mb4_uca1400_persian_nopad_ai_ci", NEW, MYSQL, None),
        ("utf8mb4_nopad_bin", OLD, MYSQL, "utf8mb4_0900_bin"),
        ("latin1_swedish_nopad_ci", OLD, MYSQL, None),
        ("latin1_swedish_ci", OLD, MYSQL, "latin1_swedish_ci"),
        ("utf8mb4_uca1400_ai_ci", NEW, mariadb("10.6.1"), None),
        ("utf8mb4_uca1400_ai_ci", NEW, OLD, "utf8mb4_uca1400_ai_ci"),
        ("utf8mb4_0900_ai_ci", MYSQL, mysql("5.7.44"), None),
    ],
)
def test_a_collation_has_one_equal_or_none(
    name: str, source: ServerVersion, target: ServerVersion, there: str | None
) -> None:
    found = counterpart(name, Way(source=source, target=target))
    assert (found.name if found else None) == there


def test_a_person_may_say_which_collation_stands_for_which() -> None:
    shown = "`a` varchar(9) COLLATE utf8mb4_uca1400_ai_ci"
    wanted = {"utf8mb4_uca1400_ai_ci": "utf8mb4_0900_ai_ci"}
    assert made(table(shown)).problems
    found = translate([table(shown)], [], source=OLD, target=MYSQL, collations=wanted)
    assert found.problems == ()
    assert b"COLLATE utf8mb4_0900_ai_ci" in found.definitions[0].text
    assert found.notices == (
        "column t.a: collation utf8mb4_uca1400_ai_ci becomes utf8mb4_0900_ai_ci; as was asked for",
    )


def test_a_wish_counts_on_the_same_server_too_and_has_to_be_a_name() -> None:
    shown = "`a` varchar(9) COLLATE utf8mb4_general_ci"
    wanted = {"UTF8MB4_general_ci": "utf8mb4_bin"}
    found = translate([table(shown)], [], source=OLD, target=OLD, collations=wanted)
    assert b"`a` varchar(9) COLLATE utf8mb4_bin" in found.definitions[0].text
    with pytest.raises(SettingsError, match="is no collation"):
        translate([], [], source=OLD, target=OLD, collations={"a": "b; DROP"})


def test_a_character_set_alone_is_given_its_collation() -> None:
    assert default_collation("utf8mb4", MYSQL) == "utf8mb4_0900_ai_ci"
    assert default_collation("utf8mb4", mysql("5.7.1")) == "utf8mb4_general_ci"
    bare = ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    found = made(table("`a` char(3) CHARACTER SET latin1", end=bare), mysql("8.0.30"), NEW)
    text = found.definitions[0].text
    assert b"CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci" in text
    assert b"CHARACTER SET latin1 COLLATE latin1_swedish_ci" in text


@pytest.mark.parametrize(
    ("shown", "there"),
    [
        ("`a` int DEFAULT 1", "`a` int DEFAULT 1"),
        ("`a` int DEFAULT -1.5e3", "`a` int DEFAULT -1.5e3"),
        ("`a` bit(3) DEFAULT b'101'", "`a` bit(3) DEFAULT b'101'"),
        ("`a` text DEFAULT NULL", "`a` text DEFAULT NULL"),
        ("`a` text DEFAULT 'x, (''\\')'", "`a` text DEFAULT ('x, (''\\')')"),
        ("`a` blob DEFAULT x'00' COMMENT 'c'", "`a` blob DEFAULT (x'00') COMMENT 'c'"),
        ("`a` int DEFAULT (1 + 2)", "`a` int DEFAULT (1 + 2)"),
        ("`a` char(9) DEFAULT ucase(')') NOT NULL", "`a` char(9) DEFAULT (ucase(')')) NOT NULL"),
        ("`a` char(9) DEFAULT uuid() INVISIBLE", "`a` char(9) DEFAULT (uuid()) INVISIBLE"),
        (
            "`a` datetime(3) DEFAULT current_timestamp(3) ON UPDATE current_timestamp(3)",
            "`a` datetime(3) DEFAULT current_timestamp(3) ON UPDATE current_timestamp(3)",
        ),
        ("`a` datetime(3) DEFAULT now()", "`a` datetime(3) DEFAULT (now())"),
        (
            "`a` datetime(3) DEFAULT current_timestamp()",
            "`a` datetime(3) DEFAULT (current_timestamp())",
        ),
        ("`a` timestamp DEFAULT current_timestamp()", "`a` timestamp DEFAULT current_timestamp()"),
        ("`a` date DEFAULT curdate()", "`a` date DEFAULT (curdate())"),
        ("`a DEFAULT f()` int COMMENT ' DEFAULT g()'",) * 2,
        ("`a` varchar(9) /*M!100301 COMPRESSED*/ DEFAULT ''", "`a` varchar(9) DEFAULT ''"),
        ("KEY `k` (`a`) IGNORED", "KEY `k` (`a`) /*!80000 INVISIBLE */"),
        ("KEY `k IGNORED` (`a`)", "KEY `k IGNORED` (`a`)"),
    ],
)  # fmt: skip
def test_columns_and_keys_take_the_form_that_mysql_wants(shown: str, there: str) -> None:
    assert item(shown) == there


@pytest.mark.parametrize(
    ("shown", "there"),
    [
        ("`a` int /*!80023 INVISIBLE */", "`a` int INVISIBLE"),
        (
            "`my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */",
            "`my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT INVISIBLE",
        ),
        ("`a` point NOT NULL /*!80003 SRID 4326 */", "`a` point NOT NULL"),
        ("`a` geomcollection DEFAULT NULL", "`a` geometrycollection DEFAULT NULL"),
        (
            "`a` int GENERATED ALWAYS AS ((`b` + 1)) STORED NOT NULL COMMENT 'VIRTUAL NOT NULL'",
            "`a` int GENERATED ALWAYS AS ((`b` + 1)) STORED COMMENT 'VIRTUAL NOT NULL'",
        ),
        ("KEY `k` (`a` DESC) /*!80000 INVISIBLE */", "KEY `k` (`a` DESC) IGNORED"),
        ("CONSTRAINT `c` CHECK ((`a` > 1))", "CONSTRAINT `c` CHECK ((`a` > 1))"),
    ],
)
def test_columns_and_keys_take_the_form_that_mariadb_wants(shown: str, there: str) -> None:
    assert item(shown, MYSQL, OLD) == there


@pytest.mark.parametrize(
    ("end", "source", "target", "there"),
    [
        (f"{END} COMPRESSION='zlib' COMMENT='COMPRESSION=x'", MYSQL, OLD,
         f"{END} COMMENT='COMPRESSION=x'"),
        (f"{END} /*!80016 ENCRYPTION='N' */", MYSQL, OLD, END),
        (f"{END} /*!80023 AUTOEXTEND_SIZE=4194304 */", MYSQL, OLD, END),
        (END.replace(")", ") /*!50100 TABLESPACE `x y` */"), MYSQL, OLD, END),
        (f"{END} `page_compressed`=1 `PAGE_COMPRESSION_LEVEL`='9'", OLD, MYSQL, END),
        (f"{END} `encrypted`=no", OLD, MYSQL, END),
        (f"{END} DATA DIRECTORY='/a''b/'", OLD, MYSQL, END),
        (f"{END}\n PARTITION BY HASH (`a`)\nPARTITIONS 2", OLD, MYSQL,
         f"{END}\n PARTITION BY HASH (`a`)\nPARTITIONS 2"),
    ],
)  # fmt: skip
def test_options_that_the_other_server_lacks_go(
    end: str, source: ServerVersion, target: ServerVersion, there: str
) -> None:
    found = made(table("`a` int", end=end), source, target)
    assert found.problems == ()
    assert found.definitions[0].text.decode().endswith(f"\n{there}")


@pytest.mark.parametrize(
    ("end", "source", "target"),
    [
        (f"{END} /*!80016 ENCRYPTION='Y' */", MYSQL, OLD),
        (f"{END} `encrypted`=yes `encryption_key_id`=2", OLD, MYSQL),
        (f"{END} `ENCRYPTED`='YES'", OLD, MYSQL),
    ],
)
def test_an_encrypted_table_is_not_written_in_the_clear(
    end: str, source: ServerVersion, target: ServerVersion
) -> None:
    (problem,) = made(table("`a` int", end=end), source, target).problems
    assert problem.startswith("table t: its files are encrypted")


def test_what_a_server_would_pass_over_in_silence_is_a_problem() -> None:
    shown = "`a` int /*!80099 SOMETHING NEW */"
    assert made(table(shown), MYSQL, OLD).problems == (
        "table t: MariaDB 10.11 does not know SOMETHING NEW",
    )
    assert made(table("`a` int /*!90000 NEW */"), MYSQL, mysql("8.0.4")).problems == (
        "table t: MySQL 8.0 does not know NEW",
    )
    assert made(table("`a` int COMMENT '/*!90000 NEW */'"), MYSQL, OLD).problems == ()


def routine(sql_mode: str) -> Definition:
    text = b"CREATE DEFINER=`r`@`%` PROCEDURE `p`()\nSELECT 1"
    return Definition(kind=ObjectKind.PROCEDURE, name="p", text=text, sql_mode=sql_mode)


def test_fractions_of_seconds_are_rounded_or_cut_as_before() -> None:
    to_mysql, to_mariadb = (OLD, MYSQL), (MYSQL, OLD)
    for (source, target), before, after in (
        (to_mysql, "", "TIME_TRUNCATE_FRACTIONAL"),
        (to_mysql, "TIME_ROUND_FRACTIONAL", ""),
        (to_mariadb, "", "TIME_ROUND_FRACTIONAL"),
        (to_mariadb, "TIME_TRUNCATE_FRACTIONAL,ANSI_QUOTES", "ANSI_QUOTES"),
    ):
        assert made(routine(before), source, target).definitions[0].sql_mode == after


def test_modes_without_meaning_go_and_those_with_meaning_are_problems() -> None:
    found = made(routine("NO_AUTO_CREATE_USER,STRICT_ALL_TABLES,TIME_ROUND_FRACTIONAL"))
    assert found.definitions[0].sql_mode == "STRICT_ALL_TABLES"
    assert found.problems == ()
    (problem,) = made(routine("EMPTY_STRING_IS_NULL")).problems
    assert problem.startswith("procedure p: it was made with sql_mode EMPTY_STRING_IS_NULL")


def test_collations_of_a_body_have_the_nearest_for_its_literals() -> None:
    shown = replace(routine(""), collation_connection="utf8mb4_uca1400_ai_ci")
    found = made(shown)
    assert found.problems == ()
    assert found.definitions[0].collation_connection == "utf8mb4_0900_ai_ci"
    assert found.definitions[0].text == shown.text


def test_events_that_replicas_do_not_run_stay_so() -> None:
    text = (
        b"CREATE DEFINER=`r`@`%%` EVENT `e` ON SCHEDULE EVERY 1 DAY "
        b"ON COMPLETION NOT PRESERVE DISABLE ON %s DO SELECT 1"
    )
    event = Definition(kind=ObjectKind.EVENT, name="e", text=text % b"SLAVE")
    assert made(event).definitions[0].text == text % b"REPLICA"


def test_many_objects_with_one_change_are_one_notice() -> None:
    tables = [table("`a` int", name=f"t{number}", end=f"{END} `x`=1") for number in range(9)]
    found = translate(tables, [], source=OLD, target=MYSQL)
    (notice,) = found.notices
    assert notice.startswith("table t0, table t1, table t2, table t3, table t4 and 4 more: MySQL")


def rows(*columns: Column, versioned: bool = False) -> TableRows:
    source = RowSource(database="d", table="t", columns=columns, versioned=versioned)
    part = Range(rows=1, bytes=9, fingerprint="00" * 32)
    return TableRows(head=TableHead(source=source, key=None), ranges=(part,))


def test_json_goes_to_mariadb_as_the_bytes_it_is() -> None:
    before = rows(Column(name="j", kind="json", select="`j`", bind=AS_TEXT))
    (after,) = translate([], [before], source=MYSQL, target=OLD).tables
    assert after.head.source.columns[0].bind == "{}"
    assert after.head.source.columns[0].kind == "longtext"
    assert after.ranges == before.ranges


def test_the_end_of_time_is_that_of_the_target() -> None:
    moment = Column(name="row_end", kind="timestamp", select="`row_end`", literal="moment")
    before = rows(moment, versioned=True)
    for source, target, bind in (
        (OLD, NEW, "REPLACE({}, '2038-01-19 03:14:07.999999', '2106-02-07 06:28:15.999999')"),
        (NEW, OLD, "REPLACE({}, '2106-02-07 06:28:15.999999', '2038-01-19 03:14:07.999999')"),
        (OLD, mariadb("11.4.2"), "{}"),
    ):
        (after,) = translate([], [before], source=source, target=target).tables
        assert after.head.source.columns[-1].bind == bind
        assert (after.head.source.columns[-1].select == "`row_end`") == (bind == "{}")


def test_moments_that_an_older_server_does_not_have_are_told() -> None:
    shown = table("`a` timestamp NULL DEFAULT NULL")
    for target in (OLD, MYSQL):
        (notice,) = made(shown, NEW, target).notices
        assert notice.startswith("column t.a: ")
        assert "2038-01-19" in notice
    assert made(shown, OLD, MYSQL).notices == ()


def test_the_same_server_and_a_newer_one_take_everything_as_it_is() -> None:
    shown = [table("`u` uuid", end=f"{END} WITH SYSTEM VERSIONING"), routine("ORACLE")]
    for source, target in ((OLD, OLD), (OLD, NEW), (MYSQL, MYSQL)):
        found = translate(shown, [], source=source, target=target)
        assert found == Translation(definitions=tuple(shown), tables=(), notices=(), problems=())


def test_a_database_is_given_the_nearest_collation() -> None:
    options = DatabaseOptions(
        character_set="utf8mb4", collation="utf8mb4_uca1400_ai_ci", comment="ours"
    )
    found = translate_options(options, source=NEW, target=MYSQL)
    assert found.options.collation == "utf8mb4_0900_ai_ci"
    assert found.options.comment == ""
    assert len(found.notices) == 2
    assert found.problems == ()
    there = translate_options(options, source=NEW, target=OLD)
    assert there.options == options


def test_a_trial_has_all_but_what_temporary_tables_cannot_have() -> None:
    shown = table(
        "`a` int", "`s` timestamp(6) GENERATED ALWAYS AS ROW START", "FULLTEXT KEY `f` (`a`)",
        "KEY `k` (`a`)", "CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `x` (`y`)",
        "PERIOD FOR SYSTEM_TIME (`s`, `e`)",
        end=f"{END} ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 WITH SYSTEM VERSIONING\n"
        " PARTITION BY HASH (`a`)",
    )  # fmt: skip
    wanted = f"CREATE TEMPORARY TABLE `ulasis-backup trial` (\n`a` int,\nKEY `k` (`a`)\n{END}"
    assert trial_text(shown) == wanted.encode()
    assert trial_text(table("`a` int DEFAULT nextval(`s`)")) is None
