# ruff: noqa: E501 (lines are as long as the program makes them)
"""A dump as mariadb-dump writes it, put together by hand from its real texts."""

from __future__ import annotations

HEAD = b"""/*M!999999\\- enable the sandbox mode */ 
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
-- Server version\t10.11.19-MariaDB-0+deb12u1-log

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40103 SET TIME_ZONE='+00:00' */;

--
-- Position to start replication or point-in-time recovery from
--

-- CHANGE MASTER TO MASTER_LOG_FILE='binlog.000007', MASTER_LOG_POS=4242;
-- SET GLOBAL gtid_slave_pos='0-1-99';
"""  # noqa: W291 (the blank is the program's)

SEQUENCE = b"""
--
-- Sequence structure for `tickets`
--

DROP SEQUENCE IF EXISTS `tickets`;
CREATE SEQUENCE `tickets` start with 1 minvalue 1 maxvalue 99 increment by 1 cache 10 nocycle ENGINE=InnoDB;
DO SETVAL(`tickets`, 11, 0);
"""

FOOT = b"""/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed
"""


def in_header(name: str) -> str:
    """Return *name* as it stands in the comment above a section."""
    return "`" + name.replace("`", "``").replace("\n", "\n-- ") + "`"


def quoted(name: str) -> str:
    """Return *name* as it stands in statements."""
    return "`" + name.replace("`", "``") + "`"


def table(name: str, rows: list[str], *, more: str = "", statements: int = 1) -> bytes:
    """Return definition and rows of a table; each row is the text of its values."""
    plain, head = quoted(name), in_header(name)
    text = (
        f"\n--\n-- Table structure for table {head}\n--\n\n"
        f"DROP TABLE IF EXISTS {plain};\n"
        "/*!40101 SET @saved_cs_client     = @@character_set_client */;\n"
        f"CREATE TABLE {plain} (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n"
        f"  `v` text DEFAULT NULL,\n  PRIMARY KEY (`id`)\n"
        f") ENGINE=InnoDB AUTO_INCREMENT={len(rows) + 1} DEFAULT CHARSET=utf8mb4{more};\n"
        "/*!40101 SET character_set_client = @saved_cs_client */;\n"
        f"\n--\n-- Dumping data for table {head}\n--\n\n"
        f"/*!40000 ALTER TABLE {plain} DISABLE KEYS */;\n"
    )
    size = -(-len(rows) // statements) or 1
    for begin in range(0, len(rows), size):
        listed = ",\n".join(f"({row})" for row in rows[begin : begin + size])
        text += f"INSERT INTO {plain} VALUES\n{listed};\n"
    text += f"/*!40000 ALTER TABLE {plain} ENABLE KEYS */;\n"
    return text.encode()


def trigger(name: str, body: str, *, on: str = "orders", mode: str = "") -> bytes:
    """Return a trigger as it stands behind the rows of its table."""
    return (
        f"/*!50003 DROP TRIGGER IF EXISTS {quoted(name)} */;\n"
        "/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;\n"
        f"/*!50003 SET sql_mode              = '{mode}' */ ;\n"
        "DELIMITER ;;\n"
        f"/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER {quoted(name)} "
        f"BEFORE INSERT ON {quoted(on)} FOR EACH ROW {body} */;;\n"
        "DELIMITER ;\n"
        "/*!50003 SET sql_mode              = @saved_sql_mode */ ;\n"
    ).encode()


def events(*named: tuple[str, str]) -> bytes:
    """Return the section of events; the delimiter is set back only behind the last."""
    text = "\n--\n-- Dumping events for database 'shop'\n--\n"
    text += "/*!50106 SET @save_time_zone= @@TIME_ZONE */ ;\n"
    for number, (name, body) in enumerate(named):
        end = ";;" if number else ";"
        text += (
            f"/*!50106 DROP EVENT IF EXISTS {quoted(name)} */{end}\nDELIMITER ;;\n"
            "/*!50003 SET time_zone             = '+00:00' */ ;;\n"
            f"/*!50106 CREATE*/ /*!50106 EVENT {quoted(name)} ON SCHEDULE EVERY 1 DAY DO {body} */ ;;\n"
        )
    text += "DELIMITER ;\n/*!50106 SET TIME_ZONE= @save_time_zone */ ;\n" if named else ""
    return text.encode()


def routines(*named: tuple[str, str, str]) -> bytes:
    """Return the section of routines: kind, name and body of each."""
    text = "\n--\n-- Dumping routines for database 'shop'\n--\n"
    for kind, name, body in named:
        text += (
            f"/*!50003 DROP {kind} IF EXISTS {quoted(name)} */;\n"
            "/*!50003 SET sql_mode              = '' */ ;\n"
            f"DELIMITER ;;\nCREATE DEFINER=`root`@`localhost` {kind} {quoted(name)}() {body} ;;\n"
            "DELIMITER ;\n"
        )
    return text.encode()


def placeholder(name: str) -> bytes:
    """Return what stands for a view until all views can be created."""
    return (
        f"\n--\n-- Temporary table structure for view {in_header(name)}\n--\n\n"
        f"DROP TABLE IF EXISTS {quoted(name)};\n/*!50001 DROP VIEW IF EXISTS {quoted(name)}*/;\n"
        f"/*!50001 CREATE VIEW {quoted(name)} AS SELECT\n 1 AS `n` */;\n"
    ).encode()


def view(name: str, select: str) -> bytes:
    """Return the final definition of a view."""
    return (
        f"\n--\n-- Final view structure for view {in_header(name)}\n--\n\n"
        f"/*!50001 DROP VIEW IF EXISTS {quoted(name)}*/;\n"
        f"/*!50001 CREATE ALGORITHM=UNDEFINED VIEW {quoted(name)} AS {select} */;\n"
    ).encode()


def dump(*sections: bytes) -> bytes:
    """Return a whole dump with *sections* between head and foot."""
    return HEAD + b"".join(sections) + FOOT
