"""Counting rows by many walks at once: the same as one row after the other, whatever the bytes."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulasis_backup.errors import IntegrityError
from ulasis_backup.mysql.measuring import WORTH_IT, measure
from ulasis_backup.mysql.rows import payloads
from ulasis_backup.mysql.wire import FULL

ENOUGH = 2 * WORTH_IT


def packets(bodies: list[bytes]) -> bytes:
    return b"".join(len(body).to_bytes(4, "little") + body for body in bodies)


def slowly(data: bytes) -> tuple[int, int] | None:
    """Return the same by looking at each row, None for what is malformed."""
    try:
        sizes = [len(row) + 4 * (1 + len(row) // FULL) for row in payloads(data)]
    except IntegrityError:
        return None
    return len(sizes), max(sizes, default=0)


def quickly(data: bytes) -> tuple[int, int] | None:
    try:
        return measure(data)
    except IntegrityError:
        return None


BODIES: dict[str, Callable[[random.Random], bytes]] = {
    "narrow": lambda r: b"\x03%03d" % r.randrange(1000),
    "one byte": lambda _: b"\xfb",
    "empty first value": lambda r: b"\x00" + b"\x02ab" * r.randrange(1, 9),
    "nothing but zeros": lambda r: bytes(r.randrange(0, 300)),
    "random": lambda r: r.randbytes(r.randrange(1, 700)),
    "long": lambda r: b"\xfd" + r.randbytes(r.randrange(60_000, 90_000)),
    "like headers": lambda r: b"\x04\x00\x00\x00\x01" * r.randrange(1, 60),
    "all lengths": lambda r: b"\x05" * (1 << r.randrange(0, 17)),
}


@pytest.mark.parametrize("kind", BODIES)
def test_rows_of_every_kind_are_counted(kind: str) -> None:
    chance = random.Random(kind)  # noqa: S311 (no secret)
    for _ in range(5):
        bodies: list[bytes] = []
        total = 0
        while total < ENOUGH:
            bodies.append(BODIES[kind](chance))
            total += 4 + len(bodies[-1])
        data = packets(bodies)
        assert measure(data) == (len(bodies), max(map(len, bodies)) + 4)


def test_rows_of_several_packets_are_one_each() -> None:
    many = packets([b"\x03abc"] * (ENOUGH // 8))
    large = b"\xff\xff\xff\x00" + bytes(FULL) + packets([b"rest"])
    exact = b"\xff\xff\xff\x00" + bytes(FULL) + packets([b""])
    data = many + large + many + exact + many
    assert measure(data) == (3 * (ENOUGH // 8) + 2, FULL + 12)
    with pytest.raises(IntegrityError):
        measure(many + b"\xff\xff\xff\x00" + bytes(FULL))


@given(seed=st.integers(0, 2**32 - 1), cut=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_is_seen_as_one_row_after_the_other_sees_it(seed: int, *, cut: bool) -> None:
    chance = random.Random(seed)  # noqa: S311 (no secret)
    kinds = list(BODIES.values())
    bodies: list[bytes] = []
    total = 0
    while total < ENOUGH:
        bodies.append(chance.choice(kinds)(chance))
        total += len(bodies[-1]) + 4
    data = bytearray(packets(bodies))
    assert quickly(bytes(data)) == slowly(bytes(data))
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    whole = bytes(data[: len(data) - chance.randrange(1, 9)] if cut else data)
    assert quickly(whole) == slowly(whole)


def test_few_bytes_and_none_are_counted() -> None:
    assert measure(b"") == (0, 0)
    assert measure(packets([b"", b"ab"])) == (2, 6)
    for broken in (b"\x01", b"\x01\x00\x00\x00", b"\x00\x00\x00\x01"):
        with pytest.raises(IntegrityError):
            measure(broken)
