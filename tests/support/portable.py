"""A database that MariaDB and MySQL understand alike, as rich as that allows."""

from __future__ import annotations

PORTABLE = (
    "SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'",
    (
        "CREATE TABLE numbers (t TINYINT, s SMALLINT UNSIGNED, m MEDIUMINT, i INT, "
        "b BIGINT UNSIGNED PRIMARY KEY, z INT(6) ZEROFILL, d DECIMAL(65,30), f FLOAT, e DOUBLE, "
        "bits BIT(64), y YEAR DEFAULT 1999, l BOOL DEFAULT TRUE, KEY down (i DESC, s))"
    ),
    (
        "INSERT INTO numbers VALUES (-128, 65535, -8388608, 2147483647, 18446744073709551615, 7, "
        "-12345678901234567890123456789012345.123456789012345678901234567890, 1.17549e-38, "
        "2.2250738585072014e-308, b'1010', 2155, 0), "
        "(1, 2, 3, 4, 0, NULL, 0.000000000000000000000000000001, 16777217, -0.0, "
        "b'1111111111111111111111111111111111111111111111111111111111111111', 0, NULL), "
        "(NULL, NULL, NULL, NULL, 9223372036854775808, NULL, NULL, 3.4028235e38, 0.1, 0, 1901, 1)"
    ),
    (
        "CREATE TABLE moments (id INT PRIMARY KEY, d DATE NOT NULL DEFAULT '0000-00-00', "
        "t TIME(6), dt DATETIME(6), ts TIMESTAMP(3) NULL, made DATETIME(2) "
        "DEFAULT CURRENT_TIMESTAMP(2) ON UPDATE CURRENT_TIMESTAMP(2), later DATETIME DEFAULT "
        "(CURRENT_TIMESTAMP + INTERVAL 1 DAY))"
    ),
    (
        "INSERT INTO moments VALUES (1, '0000-00-00', '-838:59:59.000000', '9999-12-31 "
        "23:59:59.999999', '2038-01-19 03:14:07.999', '2001-02-03 04:05:06.78', NULL), "
        "(2, '2024-02-31', '00:00:00.000001', '0000-00-00 00:00:00', '1970-01-01 00:00:01', "
        "'2000-00-00', '2020-01-01 00:00:00')"
    ),
    (
        "CREATE TABLE texts (id INT AUTO_INCREMENT PRIMARY KEY, c CHAR(9) COLLATE utf8mb4_bin, "
        "v VARCHAR(50) CHARACTER SET latin1, j VARCHAR(50) CHARACTER SET sjis, "
        "u VARCHAR(50) CHARACTER SET utf16 COLLATE utf16_unicode_ci, "
        "o TEXT CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci, "
        "g VARCHAR(20) CHARACTER SET gbk, "
        "n CHAR(3) CHARACTER SET ucs2 COLLATE ucs2_bin, "
        "k VARCHAR(20) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT 'it''s \\\\ ` ) 0x', "
        "bin BINARY(4) DEFAULT 'ab', vb VARBINARY(9) DEFAULT 0x00FF27, bl LONGBLOB, "
        "up VARCHAR(30) DEFAULT (UPPER('x')), UNIQUE KEY uk (k, id), KEY part (o(10)), "
        "FULLTEXT KEY words (o)) AUTO_INCREMENT = 77 "
        "COMMENT = 'a ENGINE=Aria COLLATE=x /*!99999 y*/'"
    ),
    (
        "INSERT INTO texts (id, c, v, j, u, o, g, n, k, bin, vb, bl) VALUES "
        "(0, 'a', 'é ÿ', 'ソ表', '𝄞', 'ж', '中', 'x', 'ß ', 0x00010203, 0x5C27, 0x00FF0A0D1A5C22), "
        "(5, '', '', '', '', '', '', '', '', '', '', ''), "
        "(6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'z', NULL, NULL, REPEAT('\\\\', 70000))"
    ),
    (
        "CREATE TABLE members (id INT PRIMARY KEY, e ENUM('','a','é') DEFAULT 'a', "
        "s SET('x','y z','') CHARACTER SET latin1, w SET('p','q') NOT NULL)"
    ),
    "INSERT IGNORE INTO members VALUES (1, 0, 0, ''), (2, 1, 4, 'p,q'), (3, 'é', 7, 'q')",
    (
        "CREATE TABLE made (a INT, b INT GENERATED ALWAYS AS (a * 2) STORED, "
        "c VARCHAR(30) GENERATED ALWAYS AS (CONCAT('<', a, '>')) VIRTUAL, "
        "hidden INT INVISIBLE DEFAULT 3, KEY (b), CONSTRAINT small CHECK (a < 100))"
    ),
    "INSERT INTO made (a, hidden) VALUES (1, 2), (2, NULL), (NULL, 3)",
    "CREATE TABLE more (a INT, CONSTRAINT positive CHECK (a > 0 OR a IN (-1, -2)))",
    "CREATE TABLE docs (id INT PRIMARY KEY, j JSON, n JSON NOT NULL)",
    (
        'INSERT INTO docs VALUES (1, \'{"a": [1, 2.50, "é\\\\u0041"], "b": null}\', \'[]\'), '
        "(2, NULL, '\"x\"')"
    ),
    (
        "CREATE TABLE shapes (id INT PRIMARY KEY, g GEOMETRY, p POINT NOT NULL, "
        "c GEOMETRYCOLLECTION, SPATIAL KEY (p))"
    ),
    (
        "INSERT INTO shapes VALUES (1, ST_GeomFromText('POINT(1 2)', 4326), "
        "ST_GeomFromText('POINT(3 4)'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))')), "
        "(2, NULL, ST_GeomFromText('POINT(-0.5 1e300)'), NULL)"
    ),
    (
        "CREATE TABLE parts (id INT, at DATE, PRIMARY KEY (id, at)) PARTITION BY RANGE COLUMNS "
        "(at) (PARTITION old VALUES LESS THAN ('2020-01-01'), PARTITION rest VALUES LESS THAN "
        "(MAXVALUE))"
    ),
    "INSERT INTO parts VALUES (1, '2019-01-01'), (2, '2021-01-01')",
    "CREATE TABLE hashed (id INT PRIMARY KEY, v INT) PARTITION BY KEY (id) PARTITIONS 3",
    "INSERT INTO hashed VALUES (1, 1), (2, 2), (3, 3)",
    (
        "CREATE TABLE `odd ``name, (x)` (`co(l )` INT PRIMARY KEY, `select` INT, up INT, "
        "CONSTRAINT self FOREIGN KEY (up) REFERENCES `odd ``name, (x)` (`co(l )`) "
        "ON DELETE SET NULL)"
    ),
    "INSERT INTO `odd ``name, (x)` VALUES (1, 2, NULL), (3, NULL, 1)",
    "CREATE TABLE isam (a INT, b VARCHAR(9), KEY (a)) ENGINE=MyISAM CHECKSUM=1",
    "INSERT INTO isam VALUES (1, 'x'), (1, 'x')",
    "CREATE TABLE nothing (a INT) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
    "CREATE FUNCTION twice(a INT) RETURNS INT DETERMINISTIC RETURN a * 2",
    "CREATE FUNCTION word(a VARCHAR(9)) RETURNS VARCHAR(20) DETERMINISTIC RETURN CONCAT(a, 'é')",
    (
        "CREATE PROCEDURE many(IN a INT, OUT b INT) BEGIN SET b = a; WHILE a > 0 DO SET a = a - 1; "
        "END WHILE; END"
    ),
    "CREATE VIEW z_view AS SELECT id, c FROM texts WHERE c <> ''",
    "CREATE VIEW a_view AS SELECT b.id, twice(b.id) AS t, CONCAT(b.c, 'x') AS x FROM z_view b",
    "CREATE TRIGGER counted BEFORE INSERT ON numbers FOR EACH ROW SET NEW.z = NEW.z + 1",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01' DO DELETE FROM nothing",
)  # fmt: skip
