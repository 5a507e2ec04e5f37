-- What no text dump by mariadb-dump 10.11 can bring back, or even make: a backup
-- has to find these before it starts, and to say so. Each part stands on its
-- own after the first; load it as root into an empty database.

-- == session
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;
SET SESSION sql_mode = '', time_zone = '+00:00', timestamp = 1795165200;

-- == float_key
-- Keys that differ only in the digits which a text dump loses.
CREATE TABLE trap_float_key (f FLOAT NOT NULL, d DOUBLE NOT NULL, v INT, PRIMARY KEY (f, d));
INSERT INTO trap_float_key VALUES (16777214, 1e300, 1), (16777215, 1e300, 2), (0.33333334, 5e-324, 3), (0.33333331, 5e-324, 4);

-- == event_semicolons
-- mariadb-dump looks for a delimiter that the body does not contain, and never
-- stops looking when two semicolons in a row are in it.
CREATE EVENT trap_event_semicolons ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 02:00:00' DISABLE DO SET @a = ';;';

-- == transaction_versioned
-- mariadb-dump --dump-history gives up on history kept by transaction id.
CREATE TABLE trap_versioned_transactions (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), began BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, ended BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (began, ended)) WITH SYSTEM VERSIONING;
INSERT INTO trap_versioned_transactions (id, v) VALUES (1, 'first'), (2, 'second');
UPDATE trap_versioned_transactions SET v = 'changed' WHERE id = 1;
DELETE FROM trap_versioned_transactions WHERE id = 2;
