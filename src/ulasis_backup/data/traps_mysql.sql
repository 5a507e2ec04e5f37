-- Every trap that a MySQL 9 database can hold for a backup; traps_mariadb.sql is the same for MariaDB.
--
-- Load it as root, with a max_allowed_packet of 64M or more, into an empty database; nothing in
-- here names a schema:
--
--     mysql --binary-mode --comments --max-allowed-packet=256M DATABASE < traps_mysql.sql
--
-- Each part begins with a line "-- == name" and stands on its own: it can be loaded alone after
-- the first part. The file creates the accounts trap_definer@localhost and trap_reader@'%', and
-- the role trap_role.

-- == session
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;
SET SESSION sql_mode = '', time_zone = '+00:00', timestamp = 1795165200;
SET SESSION default_storage_engine = InnoDB, group_concat_max_len = 1000000;
SET SESSION cte_max_recursion_depth = 10000, sql_generate_invisible_primary_key = OFF;
CREATE TABLE trap_numbers (n INT NOT NULL PRIMARY KEY);
INSERT INTO trap_numbers WITH RECURSIVE r AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3000) SELECT n FROM r;

-- == float
-- FLOAT values that the six digits of a text dump lose, beside values that it keeps.
CREATE TABLE trap_float (id INT NOT NULL PRIMARY KEY, f FLOAT, f_unsigned FLOAT UNSIGNED, f_scaled FLOAT(10,4), d DOUBLE, d_scaled DOUBLE(20,8));
INSERT INTO trap_float VALUES
  (1, 0, 0, 0, 0, 0), (2, -0e0, 0, -0e0, -0e0, -0e0), (3, 0.1, 0.1, 0.1, 0.1e0, 0.1),
  (4, 1/3e0, 1/3e0, 1/3e0, 1/3e0, 1/3e0), (5, 16777215, 16777215, 16777.215, 9007199254740993, 9007199.25474099),
  (6, 3.402823466e38, 3.402823466e38, 123456.7891, 1.7976931348623157e308, 123456789012.12345678),
  (7, -3.402823466e38, 1.17549435e-38, -123456.7891, -1.7976931348623157e308, -123456789012.12345678),
  (8, 1.4e-45, 1.4e-45, 0.0001, 4.9406564584124654e-324, 0.00000001),
  (9, 1.17549421e-38, 2.2e-44, 0, 2.2250738585072009e-308, 0), (10, 3.14159274, 2.71828175, 3.1416, 3.141592653589793, 3.14159265),
  (11, 123456.789, 99999.9, 99999.9999, 1e308, 99999999999.99999999), (12, 1e-7, 1e7, 1, 1e15, 1), (13, NULL, NULL, NULL, NULL, NULL),
  (14, 0.5, 0.25, 12.75, 123456789012345680000, 2.5), (15, 1e20, 8388609, 0.3333, 5e-324, 0.33333333);

-- == bit
CREATE TABLE trap_bit (id INT NOT NULL PRIMARY KEY, b1 BIT(1), b2 BIT(2), b7 BIT(7), b8 BIT(8), b9 BIT(9), b31 BIT(31), b33 BIT(33), b63 BIT(63), b64 BIT(64) NOT NULL DEFAULT b'101');
INSERT INTO trap_bit VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0), (2, 1, 3, 127, 255, 511, 2147483647, 8589934591, 9223372036854775807, 18446744073709551615),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, b'1'), (4, b'1', 0x01, 0x27, 0x5C, 0x0A0D, 0x2722, 0x1A00, 0x3B3B, 0x27227C5C00080A0D);
CREATE TABLE trap_bit_key (b BIT(20) NOT NULL PRIMARY KEY, v INT) ENGINE=InnoDB;
INSERT INTO trap_bit_key SELECT seq, seq FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 50) s;

-- == geometry
CREATE TABLE trap_geometry (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, g GEOMETRY, p POINT NOT NULL SRID 4326, ls LINESTRING, po POLYGON SRID 0, mp MULTIPOINT, ml MULTILINESTRING, mpo MULTIPOLYGON, gc GEOMETRYCOLLECTION, SPATIAL INDEX (p));
INSERT INTO trap_geometry (g, p, ls, po, mp, ml, mpo, gc) VALUES
  (ST_GeomFromText('POINT(1 2)', 4326), ST_GeomFromText('POINT(52.5 13.4)', 4326), ST_GeomFromText('LINESTRING(0 0,1 1,2 0)', 3857), ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 4,0 0),(1 1,2 1,2 2,1 1))'), ST_GeomFromText('MULTIPOINT(0 0,1 1)'), ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))', 4326), ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))', 4326), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))', 4326)),
  (NULL, ST_GeomFromText('POINT(-90 180)', 4326), NULL, NULL, NULL, NULL, NULL, ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')),
  (ST_GeomFromText('POINT(-0.1e-300 1e300)'), ST_GeomFromText('POINT(0 -0.0)', 4326), NULL, NULL, NULL, NULL, NULL, NULL);

-- == json
CREATE TABLE trap_json (id INT NOT NULL PRIMARY KEY, j JSON, plain LONGTEXT CHECK (JSON_VALID(plain)), extracted VARCHAR(20) AS (JSON_VALUE(j, '$.a')) STORED, virtual_part INT AS (j->'$.b') VIRTUAL, listed JSON, KEY (extracted), KEY multi ((CAST(listed->'$[*]' AS UNSIGNED ARRAY))), KEY many (id, (CAST(listed->'$[*]' AS UNSIGNED ARRAY))));
INSERT INTO trap_json (id, j, plain, listed) VALUES
  (1, '{"b":1,  "a" : 2, "a": 3}', '[]', '[1, 2, 3, 3]'), (2, '{"a":"line\\nbreak \\u0000 \\" \\\\ é 😀"}', 'null', '[]'), (3, NULL, NULL, NULL),
  (4, '1234567890123456789012345678901234567890.123456789', '"\\u00e9"', '7'), (5, '{"a":1e308,"d":"0000-00-00","n":-0.0,"t":true,"z":null,"x":[]}', ' [ 1 , 2 ] ', NULL),
  (6, '18446744073709551615', NULL, NULL), (7, '-9223372036854775808', NULL, NULL), (8, 'null', NULL, NULL), (9, '""', NULL, NULL), (10, '0.1', NULL, NULL), (11, '{"":{"":[[[]]]}}', NULL, NULL);
CREATE TABLE trap_json_default (id INT NOT NULL PRIMARY KEY, j JSON NOT NULL DEFAULT (JSON_OBJECT('a', 1)), k JSON CHECK (JSON_SCHEMA_VALID('{"type":"object"}', k)));
INSERT INTO trap_json_default (id) VALUES (1);

-- == json_typed
-- Values whose type is not one that JSON text has: as text they come back as another type.
CREATE TABLE trap_json_typed (id INT NOT NULL PRIMARY KEY, j JSON);
INSERT INTO trap_json_typed VALUES (1, CAST(CAST(1.10 AS DECIMAL(5,2)) AS JSON)), (2, CAST(TIMESTAMP'2020-01-01 00:00:00.5' AS JSON)), (3, JSON_OBJECT('d', DATE'2020-01-01')), (4, JSON_ARRAY('x', TIME'-10:00:00')), (5, JSON_OBJECT('b', x'00FF')), (6, CAST(b'101' AS JSON)), (7, JSON_ARRAY(1, 'plain'));

-- == dates
CREATE TABLE trap_dates (id INT NOT NULL PRIMARY KEY, d DATE NOT NULL DEFAULT '0000-00-00', dt DATETIME(6) NOT NULL DEFAULT '0000-00-00 00:00:00.000000', ts TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00', ts6 TIMESTAMP(6) NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP(6), ts3 TIMESTAMP(3) NOT NULL DEFAULT '2001-02-03 04:05:06.789', t TIME(6), y YEAR, y2 YEAR(4) NOT NULL DEFAULT 1999);
INSERT INTO trap_dates VALUES
  (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '1970-01-01 00:00:01', '2038-01-19 03:14:07.999', '-838:59:59.999999', 0, 2155),
  (2, '2020-00-00', '2020-02-00 01:02:03.000001', '2026-10-25 00:30:00', '2026-10-25 01:30:00.000001', '2026-03-29 01:30:00', '838:59:59.999999', 1901, 0),
  (3, '0000-05-31', '0000-00-01 23:59:59.999999', '2026-10-25 01:30:00', '2026-10-25 00:30:00.5', '2026-03-29 02:30:00', '-00:00:00.000001', 70, 69),
  (4, '9999-12-31', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', NULL, '2026-01-01', '-01:00:00', NULL, 2000),
  (5, '0001-01-01', '0001-01-01 00:00:00', '1970-01-01 00:00:01', NULL, '2026-01-01', '00:00:00', 2026, 1970);
CREATE TABLE trap_dates_key (d DATE NOT NULL, dt DATETIME NOT NULL, v INT, PRIMARY KEY (d, dt));
INSERT INTO trap_dates_key VALUES ('0000-00-00', '0000-00-00', 1), ('2020-00-15', '2020-06-00', 2), ('2020-01-01', '2020-01-01', 3);

-- == invalid_dates
CREATE TABLE trap_invalid_dates (id INT NOT NULL PRIMARY KEY, d DATE, dt DATETIME);
SET SESSION sql_mode = 'ALLOW_INVALID_DATES';
INSERT INTO trap_invalid_dates VALUES (1, '2020-02-31', '2021-02-29 10:00:00'), (2, '1999-04-31', '0000-02-30 00:00:00'), (3, '2020-02-29', NULL);
SET SESSION sql_mode = '';

-- == numbers
CREATE TABLE trap_decimal (id INT NOT NULL PRIMARY KEY, widest DECIMAL(65,30), whole DECIMAL(65,0), small DECIMAL(1,1), plus DECIMAL(30,30) UNSIGNED, padded INT(9) ZEROFILL, tiny TINYINT, flag BOOLEAN NOT NULL DEFAULT TRUE, big BIGINT);
INSERT INTO trap_decimal VALUES
  (1, 99999999999999999999999999999999999.999999999999999999999999999999, 99999999999999999999999999999999999999999999999999999999999999999, 0.9, 0.999999999999999999999999999999, 7, -128, FALSE, -9223372036854775808),
  (2, -99999999999999999999999999999999999.999999999999999999999999999999, -1, -0.9, 0, 999999999, 127, 2, 9223372036854775807),
  (3, 0.000000000000000000000000000001, 0, 0.0, 0.000000000000000000000000000001, NULL, NULL, TRUE, 0);
CREATE TABLE trap_unsigned_key (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, v VARCHAR(20));
INSERT INTO trap_unsigned_key VALUES (0, 'zero'), (1, 'one'), (9223372036854775807, '2^63-1'), (9223372036854775808, '2^63'), (9223372036854775809, '2^63+1'), (18446744073709551614, '2^64-2'), (18446744073709551615, '2^64-1');

-- == keys
CREATE TABLE trap_composite_key (a INT NOT NULL, b VARCHAR(20) COLLATE utf8mb4_unicode_ci NOT NULL, c DATE NOT NULL, v INT, PRIMARY KEY (b, a, c)) DEFAULT CHARSET=utf8mb4;
INSERT INTO trap_composite_key VALUES (1, 'é', '2020-01-01', 1), (1, 'E', '2020-01-02', 2), (2, 'e', '2020-01-01', 3), (-1, 'Z', '0000-00-00', 4), (-1, '', '0000-00-00', 5);
CREATE TABLE trap_key_nopad (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_nopad VALUES ('a', 1), ('a ', 2), ('a  ', 3), ('A', 4), ('á', 5), ('', 6), (' ', 7), ('a\0', 8), ('a\t', 9);
CREATE TABLE trap_key_ci (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_ci VALUES ('ss', 1), ('z ', 2), ('😀', 3), ('Äpfel', 4), ('b', 5), ('B2', 6), ('b10', 7), ('', 8);
CREATE TABLE trap_key_as_cs (k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_general_cs NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_as_cs VALUES ('a', 1), ('A', 2), ('ä', 3), ('Ä', 4), ('ß', 5), ('ÿ', 6);
CREATE TABLE trap_key_binary (k VARBINARY(20) NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_binary VALUES ('', 1), (0x00, 2), (0x0000, 3), ('a', 4), ('a ', 5), (0x6100, 6), (0xFF, 7), (0x5C27, 8), (0x0A, 9), (0x1A, 10);
CREATE TABLE trap_key_fixed_binary (k BINARY(16) NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_fixed_binary SELECT UNHEX(LEFT(SHA2(seq, 256), 32)), seq FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 40) s;
CREATE TABLE trap_key_turkish (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_turkish_ci NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_turkish VALUES ('i', 1), ('I', 2), ('ç', 3), ('c', 4);
CREATE TABLE trap_key_enum (k ENUM('z','a','', 'ß','x,y','it''s') NOT NULL PRIMARY KEY, v INT) DEFAULT CHARSET=utf8mb4;
INSERT INTO trap_key_enum VALUES ('z', 1), ('a', 2), ('ß', 4), ('x,y', 5), ('it''s', 6);
CREATE TABLE trap_key_set (k SET('b','a') NOT NULL, n INT NOT NULL, PRIMARY KEY (k, n));
INSERT INTO trap_key_set VALUES ('', 1), ('b', 1), ('a', 1), ('a,b', 1), ('a', 2);
CREATE TABLE trap_no_key (a INT, b VARCHAR(10));
INSERT INTO trap_no_key VALUES (3, 'c'), (1, 'a'), (1, 'a'), (NULL, NULL), (NULL, NULL), (2, 'b');
CREATE TABLE trap_null_unique (a INT NULL, b INT NULL, UNIQUE KEY (a, b));
INSERT INTO trap_null_unique VALUES (NULL, NULL), (NULL, NULL), (NULL, 1), (NULL, 1), (1, NULL), (1, 1);
CREATE TABLE trap_key_moved (v INT, a INT NOT NULL, b INT NOT NULL, UNIQUE KEY z (a), PRIMARY KEY (b DESC));
INSERT INTO trap_key_moved SELECT seq, 100 - seq, seq FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 20) s;
CREATE TABLE trap_key_0900 (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_0900 VALUES ('ss', 1), ('z ', 2), ('z', 3), ('😀', 4), ('Äpfel', 5), ('b', 6), ('B2', 7), ('b10', 8), ('', 9), ('ж', 10);
CREATE TABLE trap_key_0900_as_cs (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs NOT NULL, n INT NOT NULL, v INT, PRIMARY KEY (k, n));
INSERT INTO trap_key_0900_as_cs VALUES ('a', 1, 1), ('A', 1, 2), ('ä', 1, 3), ('Ä', 1, 4), ('ß', 1, 5), ('ss', 1, 6), ('a', -1, 7), ('a ', 1, 8);
CREATE TABLE trap_key_ja (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_ja_0900_as_cs_ks NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_ja VALUES ('あ', 1), ('ア', 2), ('表', 3), ('ソ', 4);
CREATE TABLE trap_key_zh (k CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_zh_0900_as_cs NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_key_zh VALUES ('表', 1), ('達', 2), ('a', 3);
CREATE TABLE trap_key_hidden (a INT NOT NULL, b INT NOT NULL, UNIQUE KEY z (b), UNIQUE KEY a_hidden (a) INVISIBLE);
INSERT INTO trap_key_hidden VALUES (1, 9), (2, 8);
SET SESSION sql_generate_invisible_primary_key = ON;
CREATE TABLE trap_key_generated (a INT, b VARCHAR(10), KEY (a)) AUTO_INCREMENT = 40;
INSERT INTO trap_key_generated VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
DELETE FROM trap_key_generated WHERE my_row_id = 41;
SET SESSION sql_generate_invisible_primary_key = OFF;

-- == enum_error
-- Index 0 is the error value of an ENUM; it prints like the member ''.
CREATE TABLE trap_enum_error (id INT NOT NULL PRIMARY KEY, e ENUM('a','b') DEFAULT 'a');
INSERT IGNORE INTO trap_enum_error VALUES (1, 'a'), (2, 'wrong'), (3, NULL), (4, 'b');

-- == enum_and_set_empty_member
CREATE TABLE trap_enum_empty (id INT NOT NULL PRIMARY KEY, e ENUM('a','','b'), s SET('','a','b'));
INSERT IGNORE INTO trap_enum_empty VALUES (1, 0, 0), (2, 2, 1), (3, 1, 2), (4, 3, 3), (5, NULL, NULL), (6, 1, 6), (7, 1, 7);
CREATE TABLE trap_enum_charsets (e1 ENUM('ä','ö') CHARACTER SET latin1, e2 ENUM('あ','い') CHARACTER SET sjis, e3 SET('ж','я') CHARACTER SET ucs2, e4 ENUM('😀','😁') CHARACTER SET utf8mb4, e5 ENUM(0x61FF, 0x62) CHARACTER SET binary);
INSERT INTO trap_enum_charsets VALUES ('ä', 'い', 'ж,я', '😁', 1), ('ö', 'あ', '', '😀', 2);

-- == generated
CREATE TABLE trap_generated (id INT NOT NULL PRIMARY KEY, a INT, stored_sum INT AS (a + id) STORED, virtual_text VARCHAR(30) AS (CONCAT('it''s; ', a, '\n-- x')) VIRTUAL, b VARCHAR(10), hidden_hash CHAR(32) AS (LEFT(SHA2(b, 256), 32)) STORED INVISIBLE, virtual_indexed INT AS (a * 2) VIRTUAL, KEY (virtual_indexed), UNIQUE KEY (stored_sum));
INSERT INTO trap_generated (id, a, b) VALUES (1, 10, 'x'), (2, NULL, NULL), (3, -5, '');
CREATE TABLE trap_generated_first (g INT AS (z + 1) VIRTUAL, z INT, g2 INT AS (z * 2) STORED, y INT);
INSERT INTO trap_generated_first (z, y) VALUES (1, 2), (3, 4);
CREATE TABLE trap_invisible (id INT NOT NULL PRIMARY KEY, seen INT, secret VARCHAR(20) INVISIBLE DEFAULT 'dark', middle INT INVISIBLE, last INT);
INSERT INTO trap_invisible (id, seen, secret, middle, last) VALUES (1, 1, 'told', 5, 9), (2, 2, NULL, NULL, 8);
INSERT INTO trap_invisible (id, seen, last) VALUES (3, 3, 7);
CREATE TABLE trap_only_invisible_key (id INT NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY, v INT);
INSERT INTO trap_only_invisible_key (id, v) VALUES (5, 50), (9, 90);

-- == checks
CREATE TABLE trap_check (id INT NOT NULL PRIMARY KEY, a INT CHECK (a > 0), b VARCHAR(20) DEFAULT 'x' CHECK (b <> ';' AND b NOT LIKE '%''%'), CONSTRAINT `a is; not "b"` CHECK (CHAR_LENGTH(b) <> a));
INSERT INTO trap_check VALUES (1, 5, 'fine'), (2, NULL, NULL);
CREATE TABLE trap_check_off (id INT NOT NULL PRIMARY KEY, a INT CHECK (a > 0) NOT ENFORCED, b INT, CONSTRAINT `later; /*!80016 NOT ENFORCED */` CHECK (b < a) NOT ENFORCED, CONSTRAINT fine CHECK (b > -100));
INSERT INTO trap_check_off VALUES (1, -5, 7);

-- == blobs
CREATE TABLE trap_blobs (id INT NOT NULL PRIMARY KEY, t TINYBLOB, b BLOB, m MEDIUMBLOB, l LONGBLOB, vb VARBINARY(300), fixed BINARY(8), txt LONGTEXT);
INSERT INTO trap_blobs (id, t, b, m, vb, fixed) VALUES (1, '', '', '', '', ''), (2, 0x00, 0x0000, 0x0A0D1A, 0x5C, 0x6100), (3, NULL, NULL, NULL, NULL, NULL), (4, '\'', '"', '`', '\\', 0x2020);
INSERT INTO trap_blobs (id, b) SELECT 5, GROUP_CONCAT(CHAR(seq) ORDER BY seq SEPARATOR '') FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 0 AND 255) s;
INSERT INTO trap_blobs (id, txt) VALUES (6, REPEAT('text with \\ and '' and "\n', 100000));

-- == big_row
CREATE TABLE trap_big_row (id INT NOT NULL PRIMARY KEY, b LONGBLOB) ENGINE=InnoDB;
INSERT INTO trap_big_row VALUES (1, 'before'), (2, REPEAT(0x00FF27225C0A0D1A2D2D3B2F2A2A2F7E80C3, 1000000)), (3, 'after');

-- == partitions
CREATE TABLE trap_partition_range (id INT NOT NULL, d DATE NOT NULL, v VARCHAR(10), PRIMARY KEY (id, d)) PARTITION BY RANGE (YEAR(d)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN (2000) COMMENT 'old; it''s', PARTITION `p two` VALUES LESS THAN (2020), PARTITION pmax VALUES LESS THAN MAXVALUE);
INSERT INTO trap_partition_range SELECT seq, '1990-01-01' + INTERVAL seq * 200 DAY, seq FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 90) s;
CREATE TABLE trap_partition_list (id INT, country VARCHAR(10), v INT) PARTITION BY LIST COLUMNS (country) (PARTITION eu VALUES IN ('DE','it''s',NULL), PARTITION other VALUES IN ('XX'));
INSERT INTO trap_partition_list VALUES (1, 'DE', 1), (2, NULL, 2), (3, 'XX', 3), (4, 'it''s', 4);
CREATE TABLE trap_partition_key (id INT NOT NULL PRIMARY KEY, v INT) PARTITION BY KEY (id) PARTITIONS 4;
INSERT INTO trap_partition_key SELECT seq, seq FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 40) s;
CREATE TABLE trap_partition_columns (a INT NOT NULL, b VARCHAR(10) NOT NULL, PRIMARY KEY (a, b)) PARTITION BY RANGE COLUMNS (a, b) (PARTITION p0 VALUES LESS THAN (5, 'm') COMMENT 'm', PARTITION p1 VALUES LESS THAN (MAXVALUE, MAXVALUE));
INSERT INTO trap_partition_columns VALUES (5, 'a'), (5, 'z'), (1, 'x');
CREATE TABLE trap_partition_linear (id INT NOT NULL) PARTITION BY LINEAR HASH (id) PARTITIONS 3;

-- == names
CREATE TABLE `select` (`from` INT NOT NULL PRIMARY KEY, `where` VARCHAR(10), `key` INT, KEY `index` (`key`));
INSERT INTO `select` VALUES (1, 'group', 2);
CREATE TABLE `two words` (`a column` INT NOT NULL PRIMARY KEY, ` leading` INT, `ta	b` INT);
INSERT INTO `two words` VALUES (1, 2, 3);
CREATE TABLE `back``tick` (`a``b` INT NOT NULL PRIMARY KEY, ```` INT);
INSERT INTO `back``tick` VALUES (1, 2);
CREATE TABLE `quo'te"s` (`it's` INT NOT NULL PRIMARY KEY, `"` INT, `\\` INT, `\'` INT);
INSERT INTO `quo'te"s` VALUES (1, 2, 3, 4);
CREATE TABLE `-- Dumping data for table` (`-- Dump completed` INT NOT NULL PRIMARY KEY);
INSERT INTO `-- Dumping data for table` VALUES (1);
CREATE TABLE `-- Table structure for table ``x``` (id INT NOT NULL PRIMARY KEY);
INSERT INTO `-- Table structure for table ``x``` VALUES (1);
CREATE TABLE `Größe Ελλάδα 表` (`ключ` INT NOT NULL PRIMARY KEY, `値` INT, `ß` INT);
INSERT INTO `Größe Ελλάδα 表` VALUES (1, 2, 3);
CREATE TABLE `dot.ted` (`a.b` INT NOT NULL PRIMARY KEY, `.` INT);
INSERT INTO `dot.ted` VALUES (1, 2);
CREATE TABLE `100%` (`50%s` INT NOT NULL PRIMARY KEY, `%n%s%d` INT);
INSERT INTO `100%` VALUES (1, 2);
CREATE TABLE `1e5` (`0x41` INT NOT NULL PRIMARY KEY, `2` INT);
INSERT INTO `1e5` VALUES (1, 2);
CREATE TABLE `12345` (`1` INT NOT NULL PRIMARY KEY);
INSERT INTO `12345` VALUES (1);
CREATE TABLE `64_characters_long_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` (`64_characters_long_yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy` INT NOT NULL PRIMARY KEY, KEY `64_characters_long_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz` (`64_characters_long_yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy`));
INSERT INTO `64_characters_long_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` VALUES (1);
CREATE TABLE `$dollar @at #hash --dash /*slash*/ ;semi` (`/*!50000 x*/` INT NOT NULL PRIMARY KEY, `;` INT, `a;b` INT);
INSERT INTO `$dollar @at #hash --dash /*slash*/ ;semi` VALUES (1, 2, 3);
CREATE TABLE `../etc/passwd` (`a/b` INT NOT NULL PRIMARY KEY);
INSERT INTO `../etc/passwd` VALUES (1);
CREATE TABLE `CON` (`nul` INT NOT NULL PRIMARY KEY);
CREATE TABLE `Case` (`A` INT NOT NULL PRIMARY KEY);
CREATE TABLE `case` (`a` INT NOT NULL PRIMARY KEY);
INSERT INTO `Case` VALUES (1);
INSERT INTO `case` VALUES (2);
CREATE TABLE `*` (`*` INT NOT NULL PRIMARY KEY, `?` INT);
INSERT INTO `*` VALUES (1, 2);
CREATE VIEW `view ``of`` "odd" names` AS SELECT `a``b` AS `x``y`, ```` AS `it's` FROM `back``tick`;

-- == name_with_newline
CREATE TABLE `new
line` (`col
umn` INT NOT NULL PRIMARY KEY, `
-- Dump completed` INT);
INSERT INTO `new
line` VALUES (1, 2);
CREATE TABLE `cr` (`a
b` INT NOT NULL PRIMARY KEY);
INSERT INTO `cr` VALUES (1);
CREATE VIEW `view
-- Table structure for table ``fake``` AS SELECT 1 AS one;

-- == text
CREATE TABLE trap_text (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v LONGTEXT, c CHAR(40) NOT NULL DEFAULT '');
INSERT INTO trap_text (v) VALUES
  ('\n-- Dump completed\n'), ('-- Dump completed on 2026-11-22  2:00:00'), ('\n--\n-- Table structure for table `x`\n--\n'), ('-- Table structure for table `x`'),
  ('\n\\! touch trapped\n'), ('\\! touch trapped'), ('\n\\. /etc/passwd\n'), ('\nsource /etc/passwd\n'), ('\nDELIMITER ;;\n'), ('DELIMITER ;;'), (';\n'), (';;'), (';'), ('),('), ('),\n('), (');\n'),
  ('NUL\0in\0it'), ('\0'), ('\\'), ('\\\\'), ('\\n'), ('\\0'), ('\\N'), ('NULL'), ('\''), ('\'\''), ('\\\''), ('"'), ('`'), ('\r'), ('\n'), ('\r\n'), ('\Z'), ('a\Zb'), ('\t'), ('\b'), (''), (' '), ('  trailing  '), (NULL),
  ('/*'), ('*/'), ('/*!50000 DROP TABLE trap_text */'), ('/*M! x */'), ('--'), ('-- '), ('#'), ('\nINSERT INTO `trap_text` VALUES (1);\n'), ('\nUNLOCK TABLES;\n'), ('\n/*!40000 ALTER TABLE `trap_text` ENABLE KEYS */;\n'),
  ('😀 👩‍👩‍👧‍👦 é é'), (CONVERT(0xEFBFBD USING utf8mb4)), (CONVERT(0xEFBBBF USING utf8mb4)), (CONVERT(0xE280A8 USING utf8mb4)), ('_binary '), ('0x41'), ('%s%n'), ('${HOME} $(id) `id`'), ('\nuse mysql\n'), ('\\u0000'), ('\\q'), ('\\G'), ('\nGO\nexit\nquit\n'), ('\ndelimiter $$\nselect 1$$\n');
INSERT INTO trap_text (v) SELECT CONCAT('(', seq, ',''', REPEAT('x', seq MOD 50), '\\''),(', seq, ');') FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 3000) s;
INSERT INTO trap_text (v) VALUES (REPEAT('\n-- Dump completed\n', 100000));
CREATE TABLE trap_comments (
  id INT NOT NULL PRIMARY KEY COMMENT '\n-- Dump completed\n',
  a INT COMMENT 'it''s; "quoted" \\ `tick` ),( \r\n-- Table structure for table `x`\n',
  b INT COMMENT '*/ DROP TABLE x; /* \\! touch trapped',
  c INT COMMENT 'DELIMITER ;;\n😀 /*!50000 x */',
  KEY a (a) COMMENT '\n-- Dumping data for table `x`\n; it''s'
) COMMENT='\n-- Table structure for table `x`\n--\n; ''quoted'' \\ ENGINE=MyISAM ) /* */ -- Dump completed';
INSERT INTO trap_comments VALUES (1, 2, 3, 4);

-- == triggers
CREATE TABLE trap_trigger (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v VARCHAR(60), fired INT NOT NULL DEFAULT 0);
CREATE TABLE trap_trigger_log (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, what VARCHAR(200));
INSERT INTO trap_trigger (v) VALUES ('before the triggers');
DELIMITER $$
CREATE TRIGGER trap_bi BEFORE INSERT ON trap_trigger FOR EACH ROW SET NEW.fired = NEW.fired + 1$$
CREATE TRIGGER trap_bi_second BEFORE INSERT ON trap_trigger FOR EACH ROW FOLLOWS trap_bi SET NEW.fired = NEW.fired * 10$$
CREATE TRIGGER trap_bi_zeroth BEFORE INSERT ON trap_trigger FOR EACH ROW PRECEDES trap_bi SET NEW.fired = 100$$
CREATE TRIGGER trap_a_bi_last BEFORE INSERT ON trap_trigger FOR EACH ROW FOLLOWS trap_bi_second SET NEW.fired = NEW.fired + 7$$
CREATE TRIGGER trap_ai AFTER INSERT ON trap_trigger FOR EACH ROW
BEGIN
  -- Table structure for table `not_a_table`
  --
  -- Dump completed
  INSERT INTO trap_trigger_log (what) VALUES (CONCAT('AI; ;; it''s "', NEW.v, '" \\'));
  # DELIMITER ;
END$$
CREATE TRIGGER trap_bu BEFORE UPDATE ON trap_trigger FOR EACH ROW
BEGIN
  SET NEW.v = CONCAT(NEW.v, ';;', '
-- Dumping data for table `x`
DELIMITER ;
');
  SET NEW.fired = OLD.fired + 1;
END$$
CREATE TRIGGER trap_au AFTER UPDATE ON trap_trigger FOR EACH ROW INSERT INTO trap_trigger_log (what) VALUES ('AU ;;')$$
CREATE TRIGGER trap_bd BEFORE DELETE ON trap_trigger FOR EACH ROW
IF OLD.id < 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no; not "this"'; END IF$$
CREATE TRIGGER trap_ad AFTER DELETE ON trap_trigger FOR EACH ROW INSERT INTO trap_trigger_log (what) VALUES (CONCAT('AD ', OLD.id, ' 😀'))$$
SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'$$
CREATE TRIGGER trap_ansi AFTER DELETE ON trap_trigger FOR EACH ROW FOLLOWS trap_ad INSERT INTO "trap_trigger_log" ("what") VALUES ('a\' || 'b')$$
SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE'$$
CREATE TRIGGER `odd ``name``; it's` AFTER DELETE ON trap_trigger FOR EACH ROW SET @gone = OLD.id$$
CREATE TRIGGER `x */; DROP TABLE trap_trigger_log; #` AFTER DELETE ON trap_trigger FOR EACH ROW SET @gone = OLD.id$$
SET SESSION sql_mode = ''$$
DELIMITER ;
INSERT INTO trap_trigger (v) VALUES ('with triggers'), ('to go');
UPDATE trap_trigger SET v = 'changed' WHERE id = 2;
DELETE FROM trap_trigger WHERE id = 3;

-- == trigger_comments
CREATE TABLE trap_trigger_comments (id INT NOT NULL PRIMARY KEY);
DELIMITER $$
CREATE TRIGGER trap_block_comment BEFORE INSERT ON trap_trigger_comments FOR EACH ROW
BEGIN
  /* a block comment; with 'one quote
     -- Table structure for table `x`
     ;; and more */
  SET @a = 1; -- don't
  SET @b = 2; # isn't
END$$
DELIMITER ;

-- == trigger_comment_end
CREATE TABLE trap_trigger_comment_end (id INT NOT NULL PRIMARY KEY);
DELIMITER $$
CREATE TRIGGER trap_comment_end BEFORE INSERT ON trap_trigger_comment_end FOR EACH ROW
BEGIN
  SET @a = '*/'; SET @b = '/*';
END$$
DELIMITER ;

-- == trigger_double_semicolon
CREATE TABLE trap_trigger_semicolons (id INT NOT NULL PRIMARY KEY);
DELIMITER $$
CREATE TRIGGER trap_semicolons BEFORE INSERT ON trap_trigger_semicolons FOR EACH ROW
BEGIN
  -- a comment with ;; in it
  SET @a = 1;
END$$
DELIMITER ;

-- == views
CREATE TABLE trap_view_base (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), n INT);
INSERT INTO trap_view_base VALUES (1, 'one', 1), (2, 'two', -2), (3, NULL, 3);
CREATE VIEW trap_view_z AS SELECT id, v, n FROM trap_view_base;
CREATE VIEW trap_view_m AS SELECT id, v FROM trap_view_z WHERE n > 0;
CREATE VIEW trap_view_a AS SELECT m.id, z.v AS `v;--x`, CONCAT('it''s "', m.v, '" \\ \n-- Dump completed\n') AS txt FROM trap_view_m m LEFT JOIN trap_view_z z USING (id);
CREATE ALGORITHM=MERGE VIEW trap_view_check AS SELECT id, n FROM trap_view_base WHERE n > 0 WITH CASCADED CHECK OPTION;
CREATE VIEW trap_view_local_check AS SELECT id, n FROM trap_view_check WHERE n < 100 WITH LOCAL CHECK OPTION;
CREATE ALGORITHM=TEMPTABLE SQL SECURITY INVOKER VIEW trap_view_temptable AS SELECT v, COUNT(*) AS c FROM trap_view_base GROUP BY v WITH ROLLUP;
CREATE VIEW trap_view_introducers AS SELECT _latin1 0xE9 AS e_acute, _utf8mb4 0xF09F9880 COLLATE utf8mb4_bin AS grin, _binary 'a\0b' AS bin, N'ñ' AS national, x'4142' AS hexed, 'é😀' AS text;
CREATE VIEW trap_view_cte AS WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n, SUM(n) OVER (ORDER BY n) AS s FROM r;
CREATE VIEW trap_view_union (`a`, `b c`) AS (SELECT id, v FROM trap_view_base LIMIT 1) UNION ALL SELECT -1, NULL;
CREATE VIEW trap_view_no_table AS SELECT 1 AS `Name_exp_1`, NOW() AS `NOW()`, 'x' AS `it's```;
CREATE VIEW trap_view_dates AS SELECT DATE'2020-01-01' AS d, TIMESTAMP'2020-01-01 00:00:00.5' AS t, INTERVAL(3, 1, 5) AS i, CAST(1 AS DECIMAL(10,3)) AS c;
SET NAMES latin1;
CREATE VIEW trap_view_latin1_client AS SELECT 'é' AS `mojibake`;
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;
SET SESSION sql_mode = 'PIPES_AS_CONCAT,ANSI_QUOTES';
CREATE VIEW "trap_view_ansi" AS SELECT id || ':' || v AS "a""b" FROM trap_view_base;
SET SESSION sql_mode = '';

-- == view_comment_end
CREATE VIEW trap_view_comment_end AS SELECT '*/' AS a, '/*' AS b, ';' AS c, ';;' AS d;

-- == foreign_keys
CREATE TABLE trap_tree (id INT NOT NULL PRIMARY KEY, parent INT NULL, CONSTRAINT `trap; it's a tree` FOREIGN KEY (parent) REFERENCES trap_tree (id) ON DELETE CASCADE ON UPDATE RESTRICT);
INSERT INTO trap_tree VALUES (10, NULL), (11, 10), (12, 11);
INSERT INTO trap_tree VALUES (1, 12), (2, 1);
CREATE TABLE trap_mutual_a (id INT NOT NULL PRIMARY KEY, b INT NULL);
CREATE TABLE trap_mutual_b (id INT NOT NULL PRIMARY KEY, a INT NOT NULL, CONSTRAINT trap_b_to_a FOREIGN KEY (a) REFERENCES trap_mutual_a (id) ON UPDATE CASCADE);
ALTER TABLE trap_mutual_a ADD CONSTRAINT trap_a_to_b FOREIGN KEY (b) REFERENCES trap_mutual_b (id) ON DELETE SET NULL;
INSERT INTO trap_mutual_a VALUES (1, NULL), (2, NULL);
INSERT INTO trap_mutual_b VALUES (1, 2), (2, 1);
UPDATE trap_mutual_a SET b = id;
CREATE TABLE trap_z_parent (id INT NOT NULL PRIMARY KEY, a INT, b VARCHAR(10) CHARACTER SET latin1, UNIQUE KEY pair (a, b));
INSERT INTO trap_z_parent VALUES (1, 1, 'ä'), (2, NULL, 'x');
CREATE TABLE trap_child_of_unique (id INT NOT NULL PRIMARY KEY, a INT, b VARCHAR(10) CHARACTER SET latin1, FOREIGN KEY (a, b) REFERENCES trap_z_parent (a, b));
INSERT INTO trap_child_of_unique VALUES (1, 1, 'ä'), (2, NULL, 'nowhere');
SET SESSION restrict_fk_on_non_standard_key = OFF;
CREATE TABLE trap_z_loose (id INT NOT NULL PRIMARY KEY, a INT, KEY (a));
INSERT INTO trap_z_loose VALUES (1, 5), (2, 5);
CREATE TABLE trap_child_of_loose (id INT NOT NULL PRIMARY KEY, a INT, CONSTRAINT loose FOREIGN KEY (a) REFERENCES trap_z_loose (a));
INSERT INTO trap_child_of_loose VALUES (1, 5);
SET SESSION restrict_fk_on_non_standard_key = ON;

-- == foreign_keys_orphans
-- Rows that their foreign key does not allow, as foreign_key_checks=0 leaves them.
CREATE TABLE trap_orphan_parent (id INT NOT NULL PRIMARY KEY);
CREATE TABLE trap_orphan_child (id INT NOT NULL PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES trap_orphan_parent (id));
SET SESSION foreign_key_checks = 0;
INSERT INTO trap_orphan_child VALUES (1, 99);
CREATE TABLE trap_child_without_parent (id INT NOT NULL PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES trap_never_created (id));
INSERT INTO trap_child_without_parent VALUES (1, 1);
SET SESSION foreign_key_checks = 1;

-- == events
CREATE EVENT trap_event_plain ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 02:00:00' DISABLE DO SET @a = 1;
SET SESSION time_zone = '+05:30';
CREATE EVENT trap_event_zone ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2036-01-01 02:00:00' ENDS '2037-01-01 02:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'it''s; "odd" \\ \n-- Dump completed\n😀' DO SET @a = 1;
SET SESSION time_zone = 'SYSTEM';
CREATE EVENT trap_event_once ON SCHEDULE AT '2036-06-06 06:06:06' ON COMPLETION PRESERVE DISABLE ON SLAVE DO SET @a = 1;
SET SESSION time_zone = '+00:00', sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT';
CREATE EVENT "trap_event ansi" ON SCHEDULE EVERY 1 MONTH STARTS '2036-01-31 00:00:00' DISABLE DO SET @a = 'x\' || 'y';
SET SESSION sql_mode = '';
DELIMITER $$
CREATE EVENT `trap_event ``body``` ON SCHEDULE EVERY 1 WEEK STARTS '2036-01-01 00:00:00' DISABLE DO
BEGIN
  -- Table structure for table `x`
  SET @a = ';'; /* a comment; */
  SET @b = 'é😀'; -- don't
END$$
DELIMITER ;

-- == definers
CREATE USER IF NOT EXISTS trap_definer@localhost, trap_reader@'%', `trap ghost; it's`@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE, TRIGGER, SHOW VIEW, CREATE VIEW ON *.* TO trap_definer@localhost, `trap ghost; it's`@localhost;
CREATE TABLE trap_definer_base (id INT NOT NULL PRIMARY KEY, v INT);
INSERT INTO trap_definer_base VALUES (1, 1);
CREATE DEFINER=trap_definer@localhost VIEW trap_definer_view AS SELECT * FROM trap_definer_base;
CREATE DEFINER=trap_definer@localhost TRIGGER trap_definer_trigger BEFORE INSERT ON trap_definer_base FOR EACH ROW SET NEW.v = 5;
CREATE DEFINER=trap_definer@localhost FUNCTION trap_definer_function() RETURNS INT DETERMINISTIC RETURN 1;
CREATE DEFINER=`trap ghost; it's`@localhost PROCEDURE trap_ghost_procedure() SQL SECURITY INVOKER SELECT 1;
CREATE DEFINER=`trap ghost; it's`@localhost TRIGGER trap_ghost_trigger AFTER INSERT ON trap_definer_base FOR EACH ROW SET @ghost = 1;
CREATE DEFINER=`trap ghost; it's`@localhost EVENT trap_ghost_event ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 02:00:00' DISABLE DO SET @a = 1;
CREATE ROLE IF NOT EXISTS trap_role;
CREATE DEFINER=trap_role FUNCTION trap_role_function() RETURNS INT DETERMINISTIC RETURN 2;
DROP USER `trap ghost; it's`@localhost;

-- == ghost_view
-- A view whose definer is gone: valid to look at for nobody, and still to be kept.
CREATE USER IF NOT EXISTS trap_ghost@localhost;
GRANT SELECT ON *.* TO trap_ghost@localhost;
CREATE TABLE trap_ghost_base (id INT NOT NULL PRIMARY KEY);
CREATE DEFINER=trap_ghost@localhost SQL SECURITY INVOKER VIEW trap_ghost_view AS SELECT * FROM trap_ghost_base;
DROP USER trap_ghost@localhost;

-- == routines
DELIMITER $$
CREATE FUNCTION trap_function_deterministic(a VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci, b DECIMAL(65,30)) RETURNS VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_turkish_ci DETERMINISTIC NO SQL COMMENT 'it''s; "odd" \\ \n-- Dump completed\n😀' RETURN CONCAT(a, ';;', b, '*/')$$
CREATE FUNCTION trap_function_reads() RETURNS INT READS SQL DATA SQL SECURITY INVOKER
BEGIN
  /* a comment
  -- Table structure for table `x`
  that goes over lines; with 'one quote and DELIMITER ;
  */
  DECLARE n INT DEFAULT 0; -- don't
  SELECT COUNT(*) INTO n FROM information_schema.tables WHERE table_schema = DATABASE();
  RETURN n;
END$$
CREATE PROCEDURE `trap procedure; ``odd```(IN a INT, OUT `b c` VARCHAR(20), INOUT c JSON, IN d ENUM('x','it''s'))
MODIFIES SQL DATA
label: BEGIN
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; END;
  SET `b c` = 'é😀';
  IF a > 1 THEN LEAVE label; END IF;
END$$
SET SESSION sql_mode = 'ANSI_QUOTES'$$
CREATE PROCEDURE trap_procedure_ansi() BEGIN SELECT "table_name" AS "a""b", 'x\';;' FROM information_schema.tables LIMIT 1; END$$
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'$$
CREATE PROCEDURE trap_procedure_backslash() SELECT '\', 'a\nb', '\'';;'$$
SET SESSION sql_mode = 'PIPES_AS_CONCAT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,IGNORE_SPACE,HIGH_NOT_PRECEDENCE,STRICT_ALL_TABLES'$$
CREATE FUNCTION trap_function_modes(a INT) RETURNS VARCHAR(50) CHARSET utf8mb4 DETERMINISTIC RETURN a || '\' || CONCAT ('x', NOT a)$$
SET SESSION sql_mode = ''$$
CREATE PROCEDURE trap_procedure_window() SELECT n, ROW_NUMBER() OVER w FROM trap_numbers WINDOW w AS (ORDER BY n)$$
DELIMITER ;

-- == routine_database_collation
-- Routines, triggers and events remember the collation their database had.
ALTER DATABASE COLLATE latin1_german1_ci;
CREATE TABLE trap_other_collation (id INT NOT NULL PRIMARY KEY, v VARCHAR(10) CHARACTER SET utf8mb4) DEFAULT CHARSET=utf8mb4;
CREATE FUNCTION trap_function_other_collation(a VARCHAR(10)) RETURNS VARCHAR(10) DETERMINISTIC RETURN a;
CREATE TRIGGER trap_trigger_other_collation BEFORE INSERT ON trap_other_collation FOR EACH ROW SET NEW.v = UPPER(NEW.v);
CREATE EVENT trap_event_other_collation ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 02:00:00' DISABLE DO SET @a = 'ä';
ALTER DATABASE COLLATE utf8mb4_0900_ai_ci;

-- == routine_client_charset
SET NAMES latin1 COLLATE latin1_swedish_ci;
CREATE FUNCTION trap_function_latin1_client() RETURNS VARCHAR(20) CHARSET utf8mb4 DETERMINISTIC RETURN 'é';
CREATE PROCEDURE trap_procedure_latin1_client() SELECT 'é😀';
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;

-- == routine_comment_charset
-- Each dump and reload encodes this COMMENT once more.
SET NAMES latin1 COLLATE latin1_swedish_ci;
CREATE PROCEDURE trap_procedure_latin1_comment() COMMENT 'é' SELECT 1;
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;

-- == auto_increment
CREATE TABLE trap_autoinc_zero (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT);
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO trap_autoinc_zero VALUES (0, 0), (-5, -5), (-2147483648, 1), (7, 7);
SET SESSION sql_mode = '';
CREATE TABLE trap_autoinc_far (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT) AUTO_INCREMENT = 18446744073709551000;
INSERT INTO trap_autoinc_far VALUES (5, 5);
CREATE TABLE trap_autoinc_empty (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 5000;
CREATE TABLE trap_autoinc_deleted (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT);
INSERT INTO trap_autoinc_deleted (v) SELECT seq FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 100) s;
DELETE FROM trap_autoinc_deleted WHERE id > 10;
CREATE TABLE trap_autoinc_secondary (a INT NOT NULL, id INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (a, id)) ENGINE=MyISAM;
INSERT INTO trap_autoinc_secondary (a) VALUES (1), (1), (2), (1), (2);
CREATE TABLE trap_autoinc_full (id TINYINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY);
INSERT INTO trap_autoinc_full VALUES (254), (255);

-- == charsets
CREATE TABLE trap_charsets (id INT NOT NULL PRIMARY KEY, latin1 VARCHAR(40) CHARACTER SET latin1, latin2 VARCHAR(40) CHARACTER SET latin2, ucs2 VARCHAR(40) CHARACTER SET ucs2, utf16 VARCHAR(40) CHARACTER SET utf16, utf16le VARCHAR(40) CHARACTER SET utf16le, utf32 VARCHAR(40) CHARACTER SET utf32, sjis VARCHAR(40) CHARACTER SET sjis, cp932 VARCHAR(40) CHARACTER SET cp932, ujis VARCHAR(40) CHARACTER SET ujis, gbk VARCHAR(40) CHARACTER SET gbk, gb2312 VARCHAR(40) CHARACTER SET gb2312, big5 VARCHAR(40) CHARACTER SET big5, euckr VARCHAR(40) CHARACTER SET euckr, koi8r VARCHAR(40) CHARACTER SET koi8r, cp1251 VARCHAR(40) CHARACTER SET cp1251, cp850 VARCHAR(40) CHARACTER SET cp850, greek VARCHAR(40) CHARACTER SET greek, hebrew VARCHAR(40) CHARACTER SET hebrew, tis620 VARCHAR(40) CHARACTER SET tis620, swe7 VARCHAR(40) CHARACTER SET swe7, ascii VARCHAR(40) CHARACTER SET ascii, utf8mb3 VARCHAR(40) CHARACTER SET utf8mb3, utf8mb4 VARCHAR(40) CHARACTER SET utf8mb4, bin VARCHAR(40) CHARACTER SET binary);
INSERT INTO trap_charsets VALUES
  (1, 'é ÿ € ''', 'ěšč', 'ж表é', '😀ж', '😀表', '😀é\0', 'ソ表能', 'ソ表①', 'あ表', '表達縗', '表达', '許功蓋', '한국어', 'Привет', 'Привет', 'éß', 'Ελλάδα', 'שלום', 'ภาษา', 'abc', 'plain', 'é表', '😀', 0x80FF005C27),
  (2, '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', '\\', 'x', '\\', '\\', '\\', '\\'),
  (3, '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', ''),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE trap_table_latin1 (id INT NOT NULL PRIMARY KEY, v VARCHAR(20) DEFAULT 'é') DEFAULT CHARSET=latin1 COLLATE=latin1_bin COMMENT='é';
INSERT INTO trap_table_latin1 VALUES (1, 'é'), (2, 0x80), (3, 0xFF);
CREATE TABLE trap_table_ucs2 (id INT NOT NULL PRIMARY KEY, v VARCHAR(20) DEFAULT 'ж', t TEXT) DEFAULT CHARSET=ucs2;
INSERT INTO trap_table_ucs2 VALUES (1, 'ж\n;', 'é'), (2, _ucs2 0xD83D, _ucs2 0x0000);
CREATE TABLE trap_table_utf16 (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), t LONGTEXT) DEFAULT CHARSET=utf16;
INSERT INTO trap_table_utf16 VALUES (1, '😀', REPEAT('😀', 100));
CREATE TABLE trap_table_utf32 (id INT NOT NULL PRIMARY KEY, v CHAR(20)) DEFAULT CHARSET=utf32;
INSERT INTO trap_table_utf32 VALUES (1, '😀');
CREATE TABLE trap_table_sjis (id INT NOT NULL PRIMARY KEY, v VARCHAR(20) DEFAULT 'ソ') DEFAULT CHARSET=sjis COMMENT='ソ';
INSERT INTO trap_table_sjis VALUES (1, 'ソ');
CREATE TABLE trap_table_gbk (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) DEFAULT CHARSET=gbk;
INSERT INTO trap_table_gbk VALUES (1, '縗\'');
CREATE TABLE trap_table_big5 (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) DEFAULT CHARSET=big5;
INSERT INTO trap_table_big5 VALUES (1, '許\\');
CREATE TABLE trap_table_utf8mb3 (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_czech_ci;
INSERT INTO trap_table_utf8mb3 VALUES (1, 'chř');
CREATE TABLE trap_table_utf8mb4 (id INT NOT NULL PRIMARY KEY, v VARCHAR(20) COLLATE utf8mb4_0900_as_cs, w CHAR(5) COLLATE utf8mb4_tr_0900_ai_ci) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
INSERT INTO trap_table_utf8mb4 VALUES (1, 'É', 'ı'), (2, 'e', '');
CREATE TABLE trap_table_binary (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), t TEXT, c CHAR(5)) DEFAULT CHARSET=binary;
INSERT INTO trap_table_binary VALUES (1, 0x80FF, 0x0027, 'a');
CREATE TABLE trap_table_general (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), w VARCHAR(20) COLLATE utf8mb4_0900_ai_ci, x VARCHAR(20) COLLATE utf8mb4_bin, y CHAR(3) CHARACTER SET gb18030) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO trap_table_general VALUES (1, 'é', 'é', 'é', '达');

-- == padding
CREATE TABLE trap_padding (id INT NOT NULL PRIMARY KEY, c CHAR(6), v VARCHAR(6), b BINARY(6), vb VARBINARY(6), cb CHAR(6) CHARACTER SET binary, cn CHAR(6) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin);
INSERT INTO trap_padding VALUES (1, 'a  ', 'a  ', 'a  ', 'a  ', 'a  ', 'a  '), (2, '', '', '', '', '', ''), (3, 'a\0', 'a\0\0', 'a\0', 'a\0\0', 'a\0', 'a\0'), (4, '  a', ' ', 0x000000000000, 0x00, ' ', ' '), (5, '\t', '\n', '\n', '\n ', '\n ', '\n ');

-- == engines
CREATE TABLE trap_myisam (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20), t TEXT, FULLTEXT KEY words (t), KEY v (v)) ENGINE=MyISAM ROW_FORMAT=DYNAMIC CHECKSUM=1 DELAY_KEY_WRITE=1 PACK_KEYS=1 MIN_ROWS=5 MAX_ROWS=100000 AVG_ROW_LENGTH=50;
INSERT INTO trap_myisam (v, t) VALUES ('one', 'some words here'), ('two', NULL);
CREATE TABLE trap_myisam_fixed (id INT NOT NULL, v CHAR(20), KEY (v) KEY_BLOCK_SIZE=2048) ENGINE=MyISAM ROW_FORMAT=FIXED;
INSERT INTO trap_myisam_fixed VALUES (3, 'c'), (1, 'a'), (2, 'b');
ALTER TABLE trap_myisam_fixed DISABLE KEYS;
CREATE TABLE trap_memory (id INT NOT NULL, v VARCHAR(20), PRIMARY KEY (id) USING HASH, KEY (v) USING BTREE) ENGINE=MEMORY;
INSERT INTO trap_memory VALUES (2, 'two'), (1, 'one'), (3, NULL);
CREATE TABLE trap_csv (id INT NOT NULL, v VARCHAR(20) NOT NULL) ENGINE=CSV;
INSERT INTO trap_csv VALUES (1, 'a,"b"'), (2, 'line\nbreak'), (3, '');
CREATE TABLE trap_merge_part_1 (id INT NOT NULL, v VARCHAR(20), KEY (id)) ENGINE=MyISAM;
CREATE TABLE trap_merge_part_2 LIKE trap_merge_part_1;
INSERT INTO trap_merge_part_1 VALUES (1, 'one');
INSERT INTO trap_merge_part_2 VALUES (2, 'two');
CREATE TABLE trap_merge (id INT NOT NULL, v VARCHAR(20), KEY (id)) ENGINE=MERGE UNION=(trap_merge_part_1, trap_merge_part_2) INSERT_METHOD=LAST;
CREATE TABLE trap_innodb_compressed (id INT NOT NULL PRIMARY KEY, t TEXT) ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4;
INSERT INTO trap_innodb_compressed VALUES (1, REPEAT('x', 1000));
CREATE TABLE trap_innodb_redundant (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) ENGINE=InnoDB ROW_FORMAT=REDUNDANT STATS_PERSISTENT=0 STATS_AUTO_RECALC=1 STATS_SAMPLE_PAGES=25;
INSERT INTO trap_innodb_redundant VALUES (1, 'x');
CREATE TABLE trap_innodb_compact (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) ENGINE=InnoDB ROW_FORMAT=COMPACT;
CREATE TABLE trap_archive (id INT NOT NULL, v VARCHAR(20)) ENGINE=ARCHIVE;
INSERT INTO trap_archive VALUES (1, 'one');
CREATE TABLE trap_blackhole (id INT NOT NULL PRIMARY KEY) ENGINE=BLACKHOLE;
CREATE TABLE trap_compression (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) COMPRESSION='zlib' TABLESPACE=innodb_file_per_table;
CREATE TABLE trap_system_space (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY) TABLESPACE=innodb_system AUTO_INCREMENT=55;
CREATE TABLE trap_attributes (id INT NOT NULL PRIMARY KEY, v INT) SECONDARY_ENGINE_ATTRIBUTE='{"c, it''s": 1}';
CREATE TABLE trap_autoextend (id INT NOT NULL PRIMARY KEY) AUTOEXTEND_SIZE=4M;

-- == indexes
CREATE TABLE trap_indexes (id INT NOT NULL AUTO_INCREMENT, a VARCHAR(200), b TEXT, c INT, d INT, g GEOMETRY NOT NULL SRID 0, PRIMARY KEY (id), KEY prefix (a(7), b(12)), KEY down (c DESC, d ASC), KEY hidden (d) INVISIBLE, UNIQUE KEY hidden_too (id, c) COMMENT 'x' INVISIBLE, FULLTEXT KEY words (a, b) WITH PARSER ngram, SPATIAL KEY area (g), KEY `functional, ``odd` ((c * 2 + d), (LOWER(a)) DESC, c), UNIQUE KEY functional_unique ((CONCAT(a, ',KEY `x` (`y`)'))), KEY tree (d, c) USING BTREE COMMENT 'it''s') ENGINE=InnoDB;
INSERT INTO trap_indexes (a, b, c, d, g) SELECT CONCAT('word', seq), CONCAT('text ', seq), seq MOD 7, seq MOD 5, Point(seq, -seq) FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 50) s;
CREATE TABLE trap_fulltext_id (FTS_DOC_ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, t TEXT, FULLTEXT KEY t (t));
INSERT INTO trap_fulltext_id (t) VALUES ('some words'), ('other words');
CREATE TABLE trap_descending_key (a INT NOT NULL, b INT NOT NULL, v INT, PRIMARY KEY (a DESC, b));
INSERT INTO trap_descending_key SELECT seq DIV 10, seq MOD 10, seq FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 60) s;
CREATE TABLE trap_functional_only (id INT, v VARCHAR(20), UNIQUE KEY ((id + 1)));
INSERT INTO trap_functional_only VALUES (1, 'a'), (2, 'b');

-- == shapes
CREATE TABLE trap_empty (id INT NOT NULL PRIMARY KEY, v VARCHAR(20));
CREATE TABLE trap_single_column (v INT);
INSERT INTO trap_single_column VALUES (1), (NULL), (1);
CREATE TABLE trap_single_text (v LONGTEXT);
INSERT INTO trap_single_text VALUES (''), (NULL), ('\\N'), ('\n');
SELECT CONCAT('CREATE TABLE trap_wide (id INT NOT NULL PRIMARY KEY, ', GROUP_CONCAT('column_', LPAD(seq, 3, '0'), ELT(1 + seq MOD 5, ' INT', ' VARCHAR(40)', ' DATE', ' DECIMAL(10,2)', ' BLOB') ORDER BY seq), ')') INTO @statement FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 200) s;
PREPARE statement FROM @statement;
EXECUTE statement;
SELECT CONCAT('INSERT INTO trap_wide SELECT seq, ', GROUP_CONCAT(IF(seq MOD 11 = 0, 'NULL', ELT(1 + seq MOD 5, 'seq', 'SHA2(seq, 224)', '''2026-01-01''', 'seq / 7', 'UNHEX(SHA2(seq, 224))')) ORDER BY seq), ' FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 20) s') INTO @statement FROM (SELECT n AS seq FROM trap_numbers WHERE n BETWEEN 1 AND 200) s;
PREPARE statement FROM @statement;
EXECUTE statement;

-- == defaults
CREATE TABLE trap_defaults (
  id INT NOT NULL PRIMARY KEY,
  quotes VARCHAR(60) NOT NULL DEFAULT 'it''s; "x" \\ `y`',
  newline VARCHAR(60) DEFAULT 'a\n-- Dump completed\nb\r\Z\t',
  `empty` VARCHAR(10) DEFAULT '',
  nul VARCHAR(10) DEFAULT NULL,
  nul_byte VARBINARY(10) DEFAULT 0x0027,
  expression VARCHAR(100) DEFAULT (CONCAT('it''s', "\n", ';', 1 + 1)),
  blob_default BLOB DEFAULT ('x\'y'),
  text_default TEXT DEFAULT (REPEAT(';', 3)),
  bit_default BIT(9) DEFAULT b'100000001',
  now_default DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  date_default DATE DEFAULT (CURRENT_DATE + INTERVAL 1 DAY),
  float_default FLOAT DEFAULT 0.1,
  decimal_default DECIMAL(30,20) DEFAULT 0.12345678901234567890,
  enum_default ENUM('a','it''s; ),(','') DEFAULT 'it''s; ),(',
  set_default SET('x','y''; )(') DEFAULT 'x',
  uuid_default VARCHAR(36) DEFAULT (UUID()),
  emoji_default VARCHAR(10) CHARACTER SET utf8mb4 DEFAULT '😀',
  no_default INT NOT NULL,
  point_default POINT DEFAULT (POINT(1, 2)),
  set_null SET('a','b') DEFAULT NULL,
  user_default VARCHAR(100) DEFAULT (CURRENT_USER()),
  json_default JSON DEFAULT (JSON_OBJECT('a', 1))
) DEFAULT CHARSET=utf8mb4;
INSERT INTO trap_defaults (id, no_default, now_default, date_default, uuid_default, user_default) VALUES (1, 1, '2026-01-01', '2026-01-01', '123e4567-e89b-12d3-a456-426655440000', 'someone');
CREATE TABLE trap_options (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT='' AVG_ROW_LENGTH=100 CHECKSUM=1 MAX_ROWS=1000 MIN_ROWS=1 STATS_PERSISTENT=1 ROW_FORMAT=DYNAMIC;

-- == vector
CREATE TABLE trap_vector (id INT NOT NULL PRIMARY KEY, v VECTOR(3), w VECTOR NOT NULL);
INSERT INTO trap_vector VALUES (1, TO_VECTOR('[1, -0.1, 3.4e38]'), TO_VECTOR('[1.2e-38]')), (2, NULL, TO_VECTOR('[0, 0.333333343]'));
