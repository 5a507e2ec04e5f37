"""What others may do to the tables of ``zoo`` while they are backed up, whatever the method."""

from __future__ import annotations

SWAP = "RENAME TABLE zebras TO elsewhere, zokors TO zebras, elsewhere TO zokors"
SUDDEN = {
    "altered-in-an-instant": ("ALTER TABLE zebras ADD COLUMN extra INT, ALGORITHM=INSTANT",),
    "altered-and-altered-back": (
        "ALTER TABLE zebras ADD COLUMN extra INT, ALGORITHM=INSTANT",
        "UPDATE zebras SET stripes = 0",
        "ALTER TABLE zebras DROP COLUMN extra",
    ),
    "dropped": ("DROP TABLE zebras",),
    "dropped-and-made-again": (
        "DROP TABLE zebras",
        "CREATE TABLE zebras (id INT PRIMARY KEY, stripes INT)",
        "INSERT INTO zebras VALUES (7, 7)",
    ),
    "truncated": ("TRUNCATE TABLE zebras",),
    "created": ("CREATE TABLE zoo (id INT PRIMARY KEY)", "INSERT INTO zoo VALUES (1)"),
    "swapped": (SWAP,),
    "swapped-twice": (SWAP, SWAP),
    "view-replaced": ("CREATE OR REPLACE VIEW totals AS SELECT 1 AS one",),
    "trigger-dropped": ("DROP TRIGGER on_order",),
}
