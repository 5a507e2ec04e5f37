-- The traps of names that carry their own schema: load it as root into an
-- empty database called `trap`, and nowhere else. A restore under another name
-- has to rewrite or refuse these: run as they stand, they reach for the live
-- `trap` database.

-- == session
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;
SET SESSION sql_mode = '', time_zone = '+00:00', timestamp = 1795165200;

-- == qualified
CREATE SEQUENCE trap.seq START WITH 100;
CREATE TABLE trap.t (id BIGINT NOT NULL DEFAULT NEXTVAL(trap.seq) PRIMARY KEY, v VARCHAR(40), twice INT AS (CHAR_LENGTH(v) * 2) VIRTUAL);
CREATE TABLE trap.log (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, what VARCHAR(200));
CREATE TABLE trap.child (id INT NOT NULL PRIMARY KEY, t_id BIGINT, CONSTRAINT child_t FOREIGN KEY (t_id) REFERENCES trap.t (id) ON DELETE CASCADE);
CREATE TABLE trap.trap (trap INT NOT NULL PRIMARY KEY, `trap.t` INT);
INSERT INTO trap.t (v) VALUES ('one'), ('two'), ('`trap`.`t` and trap.t in a text');
INSERT INTO trap.child VALUES (1, 100), (2, 101);
INSERT INTO trap.trap VALUES (1, 1);

DELIMITER $$
CREATE TRIGGER trap.x BEFORE INSERT ON trap.t FOR EACH ROW
BEGIN
  -- trap.t in a comment stays
  SET NEW.v = CONCAT(NEW.v, ' trap.t `trap`.`t`');
  INSERT INTO trap.log (what) VALUES (CONCAT('trap.x fired for ', NEW.id));
END$$
CREATE TRIGGER `trap`.`y` AFTER DELETE ON `trap`.`t` FOR EACH ROW INSERT INTO `trap` . `log` (what) SELECT COUNT(*) FROM trap/**/.t$$
CREATE PROCEDURE trap.p(IN a BIGINT)
BEGIN
  DECLARE trap INT DEFAULT 5;
  INSERT INTO trap.t (v) VALUES ('from p');
  SELECT trap.t.v, t.v FROM trap.t WHERE trap.t.id = a;
  DO NEXTVAL(trap.seq);
  CALL trap.q();
END$$
CREATE PROCEDURE trap.q() SELECT trap.f(1)$$
CREATE FUNCTION trap.f(a INT) RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM trap.t)$$
CREATE EVENT trap.e ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 02:00:00' DISABLE DO DELETE FROM trap.t WHERE trap.t.id < 0$$
DELIMITER ;
CREATE VIEW trap.v AS SELECT trap.t.id, trap.t.v, trap.f(1) AS n, 'trap.t' AS txt FROM trap.t;
CREATE VIEW trap.a_view_on_v AS SELECT v.id AS trap FROM trap.v JOIN trap.trap ON trap.trap.trap = v.id;
CREATE VIEW trap.other_schema AS SELECT table_name FROM information_schema.tables WHERE table_schema = 'trap';
INSERT INTO trap.t (v) VALUES ('with the trigger');
