"""Events in a dump, as the programs of different versions print them."""

from __future__ import annotations

from ulasis_backup.methods.contents import events_of
from ulasis_backup.model import ObjectKind

EVENT = b"/*!50106 CREATE*/ /*!50106 EVENT `%s` ON SCHEDULE EVERY 1 DAY DO SELECT 1 */ ;;\n"
BLOCK = b"DELIMITER ;;\n" + EVENT
SESSION = b"/*!50003 SET character_set_client  = utf8mb4 */ ;\n"
OTHER_COLLATION = b"ALTER DATABASE `shop` CHARACTER SET latin1 COLLATE latin1_german1_ci ;\n"


def names(text: bytes) -> list[str]:
    found = list(events_of(text))
    assert {kind for kind, _, _ in found} <= {ObjectKind.EVENT}
    return [name for _, name, _ in found]


def test_events_that_share_a_block_are_told_apart() -> None:
    first = b"/*!50106 DROP EVENT IF EXISTS `a` */;\n" + BLOCK % b"a"
    assert names(first + b"/*!50106 DROP EVENT IF EXISTS `b` */;;\n" + BLOCK % b"b") == ["a", "b"]


def test_settings_between_drop_and_block_hide_no_event() -> None:
    """The dump program of MariaDB 11 sets the session, and the database, up before the block."""
    text = b""
    for name, more in ((b"a", b""), (b"b``c", OTHER_COLLATION), (b"d", b"")):
        text += b"/*!50106 DROP EVENT IF EXISTS `%s` */;\n" % name
        text += more + SESSION + BLOCK % name + b"DELIMITER ;\n" + SESSION + more
    assert names(text) == ["a", "b`c", "d"]
    texts = [part for _, _, part in events_of(text)]
    assert all(part.startswith(b"/*!50106 DROP EVENT") for part in texts)
    assert b"".join(texts) == text
