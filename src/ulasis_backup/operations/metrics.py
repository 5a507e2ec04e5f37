"""Metrics in the words of Prometheus: a text file, a push gateway, or a page of the daemon.

Moments are timestamps, so that a file that is not written any more ages by itself: rules compare
them with the time of the query. docs/reference/metrics.md lists every metric.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import (
    basic_auth_handler,
    default_handler,
    push_to_gateway,
    write_to_textfile,
)

from ulasis_backup import __version__
from ulasis_backup.config import Config
from ulasis_backup.errors import FollowUpFailed
from ulasis_backup.operations.context import now
from ulasis_backup.operations.runlog import RunRecord
from ulasis_backup.operations.status_values import Level, SeriesStatus, Status

PREFIX = "ulasis_backup"
SERIES = ("server", "databases")
SECONDS = 10.0


def registry(status: Status | None, runs: Mapping[str, RunRecord]) -> CollectorRegistry:
    """Return everything that *status* and the last *runs* say, as gauges.

    Without a *status* nobody could look: what is known of backups is left out, and the level says
    so.
    """
    made = CollectorRegistry()
    _info(made, status)
    if status:
        _problems(made, status)
        _storage(made, status)
        _series(made, status.series)
    _runs(made, runs)
    return made


def as_text(status: Status, runs: Mapping[str, RunRecord]) -> bytes:
    """Return the metrics in the text format of Prometheus."""
    return generate_latest(registry(status, runs))


def publish(config: Config, status: Status | None, runs: Mapping[str, RunRecord]) -> None:
    """Write and push the metrics, to wherever the settings say. Raises FollowUpFailed.

    No *status*: the repository could not be read. What was published of it before is replaced.
    """
    settings = config.settings
    if settings.backup_metrics_file:
        write_file(settings.backup_metrics_file, status, runs)
    if settings.backup_pushgateway_url:
        address = settings.backup_pushgateway_url.get_secret_value()
        push(address, status, runs, keys=_keys(config))


def write_file(path: Path, status: Status | None, runs: Mapping[str, RunRecord]) -> None:
    """Write the metrics for the textfile collector, whole or not at all.

    Raises FollowUpFailed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(path), registry(status, runs))
        # The collector runs as another user.
        path.chmod(0o644)
    except OSError as error:
        message = f"BACKUP_METRICS_FILE: cannot write {path}: {error.strerror}"
        raise FollowUpFailed(message, hint="the folder of the textfile collector") from None


def push(
    address: str,
    status: Status | None,
    runs: Mapping[str, RunRecord],
    *,
    keys: Mapping[str, str],
) -> None:
    """Push the metrics to a push gateway at *address*, which may hold a login.

    They replace what was pushed with the same *keys*. Raises FollowUpFailed.
    """
    try:
        bare, handler = _without_login(address)
        push_to_gateway(
            bare, job=PREFIX, registry=registry(status, runs), grouping_key=dict(keys),
            timeout=SECONDS, handler=handler,
        )  # fmt: skip
    except (OSError, URLError, HTTPException, ValueError) as error:
        # Never the address: it may hold a password.
        message = f"BACKUP_PUSHGATEWAY_URL was not reached: {type(error).__name__}"
        raise FollowUpFailed(message, hint="is it up, and is the address right?") from None


def _without_login(address: str) -> tuple[str, Callable[..., Callable[[], None]]]:
    """Return *address* without the login in it, and what sends with that login.

    For urllib it would be a part of the host's name.
    """
    parts = urlsplit(address if "://" in address else f"http://{address}")
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if parts.username is None:
        return bare, default_handler
    name, password = unquote(parts.username), unquote(parts.password or "")
    return bare, partial(basic_auth_handler, username=name, password=password)


def _keys(config: Config) -> dict[str, str]:
    """Return what tells these metrics in a gateway from those of another settings file."""
    names = ",".join(config.databases)
    group = f"{names}@{hashlib.sha256(config.place.encode()).hexdigest()[:8]}"
    return {"instance": config.server_name, "group": group}


def _gauge(made: CollectorRegistry, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(f"{PREFIX}_{name}", text, labels, registry=made)


def _info(made: CollectorRegistry, status: Status | None) -> None:
    _gauge(made, "info", "Always 1; the version is a label.", ("version",)).labels(__version__).set(
        1
    )
    _gauge(made, "checked_timestamp_seconds", "When these metrics were made.").set(
        (status.at if status else now()).timestamp()
    )
    level = "0 fine, 1 warning, 2 critical, 3 unknown, as the exit code of `status`."
    found = status.level if status else Level.UNKNOWN
    _gauge(made, "status_level", level).set(int(found))


def _problems(made: CollectorRegistry, status: Status) -> None:
    problems = _gauge(made, "problems", "Open problems by level.", ("level",))
    for known in (Level.WARNING, Level.CRITICAL):
        count = sum(1 for problem in status.all_problems if problem.level is known)
        problems.labels(known.name.lower()).set(count)


def _storage(made: CollectorRegistry, status: Status) -> None:
    storage = status.storage
    _gauge(made, "repository_used_bytes", "Bytes of everything in the repository.").set(
        storage.used
    )
    if storage.free is not None:
        _gauge(made, "repository_free_bytes", "Bytes that can still be stored.").set(storage.free)
    if storage.full_at:
        text = "When the storage is full if it goes on as it does."
        _gauge(made, "repository_full_timestamp_seconds", text).set(storage.full_at.timestamp())


def _series(made: CollectorRegistry, every: tuple[SeriesStatus, ...]) -> None:
    by_method = (*SERIES, "method")
    newest = _gauge(made, "newest_timestamp_seconds", "Begin of the newest good backup.", by_method)
    seconds = _gauge(made, "newest_duration_seconds", "How long it took.", by_method)
    plain = _gauge(made, "newest_plain_bytes", "Bytes of its data.", by_method)
    added = _gauge(made, "newest_added_bytes", "Bytes that it added to the repository.", by_method)
    ratio = _gauge(made, "newest_compression_ratio", "Plain bytes per added byte.", by_method)
    proven = _gauge(
        made, "newest_proven_timestamp_seconds", "Begin of the newest proven backup.", SERIES
    )
    rpo = _gauge(made, "rpo_seconds", "What would have been lost when this was made.", SERIES)
    rto = _gauge(made, "rto_seconds", "How long a restore takes, estimated.", (*SERIES, "bound"))
    verdicts = _gauge(made, "backups", "Backups by verdict.", (*SERIES, "verdict"))
    for series in every:
        names = (series.server, ",".join(series.databases))
        for known in series.newest_by_method:
            labels = (*names, known.method)
            newest.labels(*labels).set(known.at.timestamp())
            seconds.labels(*labels).set(known.seconds)
            plain.labels(*labels).set(known.plain_bytes)
            added.labels(*labels).set(known.added_bytes)
            if known.added_bytes:
                ratio.labels(*labels).set(known.plain_bytes / known.added_bytes)
        if series.newest_proven:
            proven.labels(*names).set(series.newest_proven.at.timestamp())
        if series.rpo is not None:
            rpo.labels(*names).set(series.rpo)
        if series.rto:
            for bound in ("least", "likely", "most"):
                rto.labels(*names, bound).set(getattr(series.rto, bound))
        for verdict, count in series.verdicts.items():
            verdicts.labels(*names, str(verdict)).set(count)


def _runs(made: CollectorRegistry, runs: Mapping[str, RunRecord]) -> None:
    ended = _gauge(
        made, "run_ended_timestamp_seconds", "End of the last run on this machine.", ("operation",)
    )
    succeeded = _gauge(
        made, "run_succeeded_timestamp_seconds", "End of the last good run.", ("operation",)
    )
    code = _gauge(made, "run_exit_code", "Exit code of the last run.", ("operation",))
    seconds = _gauge(made, "run_duration_seconds", "How long the last run took.", ("operation",))
    phases = _gauge(
        made, "run_phase_seconds", "How long each part of it took.", ("operation", "phase")
    )
    for name, record in runs.items():
        ended.labels(name).set(_timestamp(record.at))
        if record.succeeded_at:
            succeeded.labels(name).set(_timestamp(record.succeeded_at))
        code.labels(name).set(record.exit_code)
        seconds.labels(name).set(record.seconds)
        for phase, took in record.phases.items():
            phases.labels(name, phase).set(took)


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
