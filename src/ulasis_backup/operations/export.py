"""``export``: turn a ``rows`` backup into an ordinary dump, as SQL text."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ulasis_backup.errors import NameTaken, SettingsError, StorageError
from ulasis_backup.events import BytesMoved, PhaseBegan, PhaseEnded
from ulasis_backup.methods.export import export_sql
from ulasis_backup.methods.rows_restore import DatabaseContents
from ulasis_backup.operations.context import Context, reading
from ulasis_backup.operations.rows_source import Choice, RowsSource, open_rows
from ulasis_backup.repository import repository
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.streams.compression import Compression, compress
from ulasis_backup.streams.pipeline import Chunks, flow, threads

LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Which database of a backup goes into which file; ``.gz`` and ``.zst`` are compressed."""

    name: PayloadName
    output: Path
    database: str = ""
    tables: tuple[str, ...] = ()
    allow_unauthenticated: bool = False


def export(context: Context, request: ExportRequest) -> int:
    """Write the dump and return its size in bytes; the file appears only when it is complete.

    Raises IntegrityError and its children, NameTaken when the file exists, SettingsError.
    """
    with reading(context, request.name):
        return _export(context, request)


def _export(context: Context, request: ExportRequest) -> int:
    manifest = repository.load_trusted(
        context.repository, request.name, allow_unauthenticated=request.allow_unauthenticated
    )
    if manifest.header.method != "rows":
        message = f"{request.name} is a dump already"
        raise SettingsError(message, hint="docs/format.md has the recipe that opens it")
    held = manifest.header.databases
    if len(held) > 1 and not request.database:
        message = f"{request.name} holds several databases: {', '.join(held)}"
        raise SettingsError(message, hint="choose one with --from-database")
    source = open_rows(context, manifest, Choice(database=request.database, tables=request.tables))
    context.observe(PhaseBegan(name="export", subject=str(request.output)))
    size = _write(request.output, _compressed(request.output, _dump(context, source)))
    context.observe(PhaseEnded(name="export"))
    return size


def _dump(context: Context, source: RowsSource) -> Chunks:
    contents = DatabaseContents(definitions=source.definitions, tables=source.part.tables)
    done = 0
    dump = export_sql(
        contents,
        options=source.part.options[source.database],
        read=source.reader.read,
        flavour=source.server.flavour,
    )
    for chunk in dump:
        done += len(chunk)
        context.observe(BytesMoved(done=done))
        yield chunk


def _compressed(output: Path, chunks: Chunks) -> Chunks:
    kinds = {".gz": Compression.GZIP, ".zst": Compression.ZSTD}
    kind = kinds.get(output.suffix)
    return flow(chunks, compress(kind, level=LEVEL, threads=threads(0))) if kind else chunks


def _write(output: Path, chunks: Iterator[bytes]) -> int:
    if output.exists():
        raise NameTaken(f"{output} exists already", hint="name another file, or remove it")
    temporary = output.with_name(f".{output.name}.{os.urandom(4).hex()}.part")
    size = 0
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never takes the place of a file that came meanwhile.
        os.link(temporary, output)
    except FileExistsError:
        raise NameTaken(f"{output} exists already", hint="name another file") from None
    except OSError as error:
        message = f"cannot write {output}: {error.strerror}"
        raise StorageError(message, hint="check the folder, its rights, and the space") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return size
