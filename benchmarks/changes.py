"""A day's work on the generated database: one row in a hundred changed at random, some new."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench import TABLES
from benchmarks.database import Server, run_sql

SHARE = 0.01
NEW_SHARE = 0.002

UPDATES = (
    "UPDATE users SET token = MD5(CONCAT(id, '-{day}')) WHERE RAND({day}1) < {share}",
    """UPDATE reviews SET rating = 1 + (rating + {day}) MOD 5,
  title = SUBSTRING_INDEX(SUBSTRING_INDEX(body, ' ', 10 + {day}), ' ', -6),
  device = LEFT(MD5(CONCAT(id, '-{day}')), 12) WHERE RAND({day}2) < {share}""",
    """UPDATE items SET quantity = 1 + (quantity + {day}) MOD 9,
  price = (99 + CRC32(CONCAT(id, '-{day}')) MOD 9900) / 100 WHERE RAND({day}3) < {share}""",
)
"""Scattered over the whole key: the worst case for anything that stores blocks."""

INSERTS = """
INSERT INTO users (email, name, country, token, created_at)
  SELECT CONCAT('day{day}.', email), name, country, MD5(CONCAT(id, '+{day}')),
    created_at + INTERVAL {day} YEAR FROM users WHERE RAND({day}4) < {share};
INSERT INTO reviews (business_id, user_id, rating, title, body, device, created_at)
  SELECT 1 + (business_id + {day}) MOD 5000, user_id, rating,
    SUBSTRING_INDEX(body, ' ', -5), CONCAT(SUBSTRING_INDEX(body, ' ', -30), ' ', title),
    LEFT(MD5(CONCAT(id, '+{day}')), 12), created_at + INTERVAL {day} DAY
  FROM reviews WHERE RAND({day}5) < {share};
INSERT INTO items (order_id, product_id, quantity, price)
  SELECT order_id + {day}, 1 + CRC32(CONCAT('p', id, '+{day}')) MOD 20000, quantity, price
  FROM items WHERE RAND({day}6) < {share};
"""


def update(server: Server, database: str, *, day: int) -> float:
    """Change one row in a hundred of every table; return the share that the server counted.

    The same day changes the same rows of the same database.
    """
    changed = _sum(server, database, [f"{sql}; SELECT ROW_COUNT()" for sql in UPDATES], day=day)
    there = _sum(server, database, [f"SELECT COUNT(*) FROM {table}" for table in TABLES], day=day)
    return changed / there


def insert(server: Server, database: str, *, day: int) -> None:
    """Add two rows for each thousand of every table."""
    run_sql(server, INSERTS.format(day=day, share=NEW_SHARE), database)


def _sum(server: Server, database: str, statements: Sequence[str], *, day: int) -> int:
    """Run *statements*, each of which prints one number, and return their sum."""
    sql = ";\n".join(statements).format(day=day, share=SHARE)
    return sum(int(line) for line in run_sql(server, sql, database).split())
