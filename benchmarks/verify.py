"""How fast rows are verified, beside the least that this machine needs for it.

``python -m benchmarks.verify`` makes row packets, stores them as objects, and checks them as
``verify`` does, on one thread. Beside it: SHA-256 of the plain bytes, AES-256-GCM of the stored
ones and zstd, alone and added. All in CPU seconds of one process: the machine may have other work.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.events import ignore
from ulasis_backup.methods.index import Begin, Index, Range, TableHead, TableRows
from ulasis_backup.mysql.columns import RowSource
from ulasis_backup.operations.ranges import RangeReader, check_tables
from ulasis_backup.repository import objectfile
from ulasis_backup.repository.objectfile import Epoch, new_epoch
from ulasis_backup.storage.base import Storage
from ulasis_backup.streams import delta

RANGE_BYTES = 8 << 20
MEGABYTE = 1_000_000
ASKED = 400
"""Megabytes per CPU second, or the limit where that is less."""

WORDS = [bytes(random.Random(n).choices(b"abcdefghijklmnop", k=3 + n % 8)) for n in range(4000)]  # noqa: S311 (no secret)
Row = Callable[[int, random.Random], Sequence[bytes]]


def _narrow(number: int, chance: random.Random) -> Sequence[bytes]:
    amount = f"{chance.randrange(10_000_000) / 100:.2f}"
    return (b"%d" % number, b"%d" % chance.randrange(500_000), amount.encode(), b"2026-11-24")


def _text(number: int, chance: random.Random) -> Sequence[bytes]:
    return (b"%d" % number, b"2026-11-24 02:00:00", b" ".join(chance.choices(WORDS, k=40)))


KINDS: dict[str, Row] = {"narrow rows": _narrow, "rows of text": _text}


def packets(row: Row, size: int, first: int) -> tuple[bytes, int]:
    """Return about *size* bytes of row packets, and how many rows they are."""
    chance, made, total, number = random.Random(first), [], 0, 0  # noqa: S311 (no secret)
    while total < size:
        body = b"".join(_value(value) for value in row(first + number, chance))
        made.append(len(body).to_bytes(4, "little") + body)
        total += len(made[-1])
        number += 1
    return b"".join(made), number


def _value(value: bytes) -> bytes:
    size = len(value)
    return (bytes([size]) if size < 251 else b"\xfc" + size.to_bytes(2, "little")) + value  # noqa: PLR2004 (the protocol's)


def stored(storage: Storage, epoch: Epoch, plain: Sequence[tuple[bytes, int]]) -> TableRows:
    """Store *plain* ranges as objects, and return the table that they make."""
    ranges = []
    for data, rows in plain:
        print_ = objectfile.fingerprint(epoch, data)
        name = objectfile.new_name(print_)
        file = objectfile.seal(epoch, name, objectfile.encode(data))
        storage.put(objectfile.path_of(epoch.id, name), [file])
        ranges.append(
            Range(rows=rows, bytes=len(data), fingerprint=print_, name=name, stored=len(file))
        )
    source = RowSource(database="d", table="t", columns=())
    return TableRows(head=TableHead(source=source, key=None), ranges=tuple(ranges))


def cost(work: Callable[[], object], runs: int) -> float:
    """Return the CPU seconds of *work*, the median of *runs*."""
    spent = []
    for _ in range(runs):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return statistics.median(spent)


def parts(plain: Sequence[bytes]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the three that cannot be done without, each for all of *plain*."""
    frames = [delta.compress(data) for data in plain]
    cipher, nonce = AESGCM(os.urandom(32)), os.urandom(12)
    sealed = [cipher.encrypt(nonce, frame, None) for frame in frames]
    yield "SHA-256", lambda: [hashlib.sha256(data).digest() for data in plain]
    yield "AES-256-GCM", lambda: [cipher.decrypt(nonce, one, None) for one in sealed]
    yield (
        "zstd",
        lambda: [
            delta.decompress(frame, len(data)) for frame, data in zip(frames, plain, strict=True)
        ],
    )


def measure(kind: str, mib: int, runs: int, folder: Path) -> bool:
    """Print the figures of one *kind* of rows; tell whether what was asked is reached."""
    plain = [packets(KINDS[kind], RANGE_BYTES, n << 24) for n in range(max(1, mib // 8))]
    total = sum(len(data) for data, _ in plain)
    context = build(
        read_config(flags={}, environment={"BACKUP_DIR": str(folder), "DB_NAME": "d"}), ignore
    )
    epoch = new_epoch(key=True)
    table = stored(context.repository.storage, epoch, plain)
    begin = Begin(
        databases=("d",), epoch=epoch.id, epoch_key=(epoch.key or b"").hex(), flavour="mariadb",
        version="10",
    )  # fmt: skip
    reader = RangeReader(context, Index(begin=begin, options={}, definitions={}, tables=(table,)))
    alone = {name: cost(work, runs) for name, work in parts([data for data, _ in plain])}
    ours = cost(lambda: check_tables(reader, [table], jobs=1, on_bytes=lambda _: None), runs)
    limit = sum(alone.values())
    rows = sum(count for _, count in plain)
    print(f"{kind}: {total / MEGABYTE:.0f} MB, {rows:,} rows of {total / rows:.0f} bytes")
    for name, seconds in {**alone, "all three": limit, "verify": ours}.items():
        print(f"  {name:<12} {total / MEGABYTE / seconds:8.0f} MB per CPU second")
    print(f"  verify reaches {limit / ours:.0%} of the limit")
    return total / MEGABYTE / ours >= min(ASKED, total / MEGABYTE / limit)


def main() -> int:
    """Run and print; exit status 1 where verify reaches neither what is asked nor the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    wanted = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}")
    met = True
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            met &= measure(kind, wanted.mib, wanted.runs, Path(folder))
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
