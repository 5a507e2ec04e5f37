"""Dumps taken apart: what goes to the client program, what becomes a definition."""

from __future__ import annotations

import pytest

from support.dumps import FOOT, HEAD, SEQUENCE, table
from ulasis_backup.errors import Refused
from ulasis_backup.methods.dumped import definitions_of, for_tables
from ulasis_backup.methods.outside import pointing_to, without_schema
from ulasis_backup.methods.sections import Part, Piece, split

TRIGGER = b"""/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET character_set_client  = latin1 */ ;
/*!50003 SET collation_connection  = latin1_swedish_ci */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'ANSI_QUOTES' */ ;
/*!50032 DROP TRIGGER IF EXISTS `t` */;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER shop.t BEFORE INSERT ON
 shop.orders FOR EACH ROW SET NEW.v = CONCAT(';;', '
DELIMITER ;
') */;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
"""
EVENTS = b"""
--
-- Dumping events for database 'shop'
--
/*!50106 SET @save_time_zone= @@TIME_ZONE */ ;
/*!50106 DROP EVENT IF EXISTS `nightly` */;
DELIMITER ;;
/*!50003 SET character_set_client  = utf8mb4 */ ;;
/*!50003 SET time_zone             = 'SYSTEM' */ ;;
/*!50106 CREATE*/ /*!50106 EVENT `nightly` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE \
ENABLE DO DELETE FROM shop.t */ ;;
/*!50003 SET time_zone             = @saved_time_zone */ ;;
DELIMITER ;
"""
CHILD = (
    b"CREATE TABLE `c` (\n  `id` int DEFAULT nextval(`s`),\n  CONSTRAINT `x REFERENCES ` FOREIGN "
)
CHILD += b"KEY (`p`) REFERENCES `inside` (`id`),\n  CONSTRAINT `y` FOREIGN KEY (`q`) REFERENCES "
CHILD += b"`out``side` (`id`) COMMENT ' REFERENCES `x`'\n) ENGINE=InnoDB"


def dump() -> list[Piece]:
    return list(split(iter([HEAD, SEQUENCE, table("orders", ["1,'x'"]), TRIGGER, EVENTS, FOOT])))


def test_the_client_program_gets_tables_rows_and_sequences_alone() -> None:
    sent = b"".join(found.data for piece in dump() if (found := for_tables(piece)))
    assert b"CREATE TABLE `orders`" in sent
    assert b"INSERT INTO `orders`" in sent
    assert b"CREATE SEQUENCE" in sent
    assert b"TRIGGER" not in sent
    assert b"EVENT" not in sent
    assert b"shop.t" not in sent


def test_triggers_and_events_become_what_the_server_shows() -> None:
    trigger, event = definitions_of(dump(), collation="utf8mb4_general_ci", created="5")
    assert trigger.text.startswith(
        b"CREATE DEFINER=`root`@`localhost` TRIGGER shop.t BEFORE INSERT"
    )
    assert trigger.text.endswith(b"SET NEW.v = CONCAT(';;', '\nDELIMITER ;\n')")
    assert (trigger.sql_mode, trigger.charset_client) == ("ANSI_QUOTES", "latin1")
    expected = {"table": "orders", "timing": "BEFORE", "event": "INSERT", "order": "1"}
    assert trigger.extra == expected
    assert event.text.startswith(b"CREATE EVENT `nightly` ON SCHEDULE")
    assert event.text.endswith(b"DO DELETE FROM shop.t")
    assert (event.time_zone, event.database_collation) == ("SYSTEM", "utf8mb4_general_ci")
    assert event.extra == {"created": "5", "status": "ENABLED"}


def test_some_tables_alone_bring_their_own_triggers() -> None:
    assert [one.name for one in definitions_of(dump(), tables=frozenset({"orders"}))] == ["t"]
    assert list(definitions_of(dump(), tables=frozenset({"others"}))) == []
    kept = [for_tables(piece, frozenset({"others"})) for piece in dump()]
    assert [piece.part for piece in kept if piece] == [Part.HEAD, Part.FOOT]


@pytest.mark.parametrize(
    "line", [b"USE shop;", b"DROP DATABASE x;", b"/*!50003 CREATE TRIGGER a */;", b"\\! ls"]
)
@pytest.mark.parametrize("part", [Part.HEAD, Part.ROWS_HEAD, Part.AFTER_ROWS, Part.FOOT])
def test_what_could_reach_beyond_the_schema_is_refused(part: Part, line: bytes) -> None:
    with pytest.raises(Refused, match="none of its kind"):
        for_tables(Piece(part, "orders", b"-- ok\n" + line + b"\n"))


def test_an_object_in_unknown_words_is_refused() -> None:
    odd = TRIGGER.replace(b"/*!50003 CREATE*/", b"DROP TABLE x; CREATE")
    with pytest.raises(Refused, match="trigger t"):
        list(definitions_of([Piece(Part.AFTER_ROWS, "orders", odd)]))


def test_only_what_does_not_move_is_named_as_of_the_target() -> None:
    text = pointing_to(CHILD, "shop", moves=lambda name: name == "inside", there={"s"})
    assert b"nextval(`shop`.`s`)" in text
    assert b"REFERENCES `inside` (" in text
    assert b"REFERENCES `shop`.`out``side` (" in text
    assert b"COMMENT ' REFERENCES `x`'" in text
    assert without_schema(text, "shop") == CHILD
    assert pointing_to(text, "shop", moves=lambda _: False).count(b"`shop`.") == 2
