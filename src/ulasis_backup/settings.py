"""Every setting: its name, its kind, its default, and what the documentation says of it."""

from __future__ import annotations

import json
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)

from ulasis_backup.assertions import Assertion

SECRETS = (
    "backup_encryption_key", "db_password", "db_restore_password", "slack_webhook_url",
    "backup_alert_urls", "backup_ping_url", "smtp_password",
    "backup_pushgateway_url",
)  # fmt: skip

SHORTEST_AUDIT_DAYS = 365


def _empty_is_unset(value: object) -> object:
    return None if value == "" else value


def _true_means_starttls(value: object) -> object:
    """Understand what applications, with which we may share these variables, write."""
    text = str(value).lower()
    return {"true": "starttls", "1": "starttls", "false": "none", "0": "none"}.get(text, value)


OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_empty_is_unset)]


OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_unset)]


OptionalBool = Annotated[bool | None, BeforeValidator(_empty_is_unset)]


def _from_json(value: object) -> object:
    """Return a list that an environment variable gives as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(json.loads(value)) if value.strip() else ()
    except (ValueError, TypeError):
        msg = "not a list in JSON"
        raise ValueError(msg) from None


def _known_zone(name: str) -> str:
    try:
        # UTC is known also where no data about zones is installed.
        known = name == "UTC" or zoneinfo.ZoneInfo(name) is not None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    if not known:
        msg = "not a known time zone, e.g. UTC or Europe/Berlin"
        raise ValueError(msg)
    return name


def _a_year_or_for_ever(days: int) -> int:
    if days and days < SHORTEST_AUDIT_DAYS:
        msg = f"at least {SHORTEST_AUDIT_DAYS}, a year, or 0: for ever"
        raise ValueError(msg)
    return days


class Settings(BaseModel):
    """Every setting, with its default. The description is what the documentation shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    backup_dir: Path = Field(Path("backups"), description="Folder of the repository.")
    backup_name: str = Field(
        "", description="Prefix of the backups' names; the database's name when empty."
    )
    backup_server_name: str = Field(
        "",
        description="Name of the server in series; host and port when empty. Set it where the "
        "host's name changes, as in containers.",
    )
    backup_method: Literal["sql", "rows"] = Field(
        "sql",
        description="How backups are made: `sql`, text by the dump program; `rows`, rows off the "
        "wire, of which each is stored once.",
    )
    backup_jobs: int = Field(
        0, ge=0, le=64, description="Sessions that read and load at once with `rows`; 0: two."
    )
    backup_exclude: str = Field(
        "", description="Tables that `rows` leaves out: names with `*` and `?`, `a,b`."
    )
    backup_schema_only: str = Field(
        "", description="Tables of which `rows` keeps the definition only: the same."
    )
    backup_accounts: bool = Field(
        default=False,
        description="`rows`: keep the accounts and roles that have rights on the databases, with "
        "their password hashes. Needs encryption.",
    )
    backup_lock_wait: int = Field(
        20, ge=1, description="Seconds that `rows` tries to get the server's lock for its moment."
    )
    backup_grace_hours: int = Field(
        48,
        ge=1,
        description="Hours that an object must have been unreferenced before `prune` deletes it, "
        "and that a run may take at the most.",
    )
    backup_compression: Literal["gzip", "zstd", "none"] = Field(
        "gzip", description="Compression of new backups."
    )
    backup_compression_level: int = Field(6, ge=1, le=9, description="1 (fastest) to 9 (smallest).")
    backup_compression_threads: int = Field(
        0, ge=0, le=64, description="Threads that compress; 0: one a core, at most 4."
    )
    backup_encryption_enabled: OptionalBool = Field(
        None, description="Encrypt new backups; when unset: yes if there is a key."
    )
    backup_encryption_key: OptionalSecret = Field(
        None, description="Key of 256 bits: 64 hexadecimal or 44 base64 characters."
    )
    backup_encryption_key_file: OptionalPath = Field(None, description="File that holds the key.")
    backup_encryption_cipher: Literal["aes-256-cbc", "aes-256-gcm"] = Field(
        "aes-256-cbc", description="Cipher of new backups."
    )
    backup_lock_tables: bool = Field(
        default=True,
        description="Lock tables without transactions (MyISAM, Aria, MEMORY) against writing "
        "while they are dumped.",
    )
    backup_ddl: Literal["block", "detect"] = Field(
        "block",
        description="Hold ALTER, DROP, RENAME, TRUNCATE of the database back during the dump, or "
        "only detect them and fail.",
    )
    backup_ddl_wait: int = Field(
        10, ge=0, description="Seconds that DDL may wait behind a dump before it is let through."
    )
    restore_lock_wait: int = Field(
        30,
        ge=1,
        description="Seconds that a restore waits for others to let go of the tables that it "
        "swaps.",
    )
    backup_programs_dir: OptionalPath = Field(
        None, description="Folder of the client and server programs; else they are searched."
    )
    backup_scratch_programs: str = Field(
        "",
        description="Folders of server programs for `test-restore` (`/opt/a:/opt/b`), searched "
        "before BACKUP_PROGRAMS_DIR for those of the backup's flavour and series.",
    )
    backup_assertions: Annotated[tuple[Assertion, ...], BeforeValidator(_from_json)] = Field(
        (),
        description="What `test-restore` asks the restored database: `[[assertions]]` in the TOML "
        "file, a list in JSON in the environment.",
    )
    backup_assertion_seconds: int = Field(
        60, ge=1, description="Seconds that the query of an assertion may take."
    )
    backup_log_format: Literal["text", "json"] = Field(
        "text", description="Format of the log lines on standard error."
    )
    backup_metrics_file: OptionalPath = Field(
        None,
        description="File that gets Prometheus metrics after each run, `…/ulasis_backup.prom` in "
        "the folder of the textfile collector.",
    )
    backup_pushgateway_url: OptionalSecret = Field(None, description="Push gateway that gets them.")
    backup_pushgateway_url_file: OptionalPath = Field(
        None, description="File that holds its address."
    )
    backup_metrics_listen: str = Field(
        "",
        pattern=r"^(|[^\s:]+:\d{1,5}|\[[0-9a-f:]+\]:\d{1,5})$",
        description="Where `daemon` answers /metrics, e.g. `127.0.0.1:9105`; empty: nowhere.",
    )
    backup_rpo_hours: float = Field(
        24, gt=0, description="Hours of changes that may be lost at the most (RPO), for `status`."
    )
    backup_retired: str = Field(
        "", description="Databases, separated by commas, of which no new backups are expected."
    )
    backup_rto_hours: float = Field(
        4, gt=0, description="Hours that a restore may take at the most (RTO), for `status`."
    )
    backup_schedule_backup: str = Field(
        "0 2 * * *", description="When `schedule` makes backups (cron, five fields); empty: never."
    )
    backup_schedule_verify: str = Field(
        "0 3 * * 0", description="When `schedule` verifies all backups."
    )
    backup_schedule_test_restore: str = Field(
        "0 4 1 * *", description="When `schedule` proves the newest backup by a test restore."
    )
    backup_state_dir: OptionalPath = Field(
        None,
        description="Folder for what is to be remembered on this machine; /var/lib/ulasis-backup "
        "for root, else ~/.local/state/ulasis-backup.",
    )
    backup_retention_days: int = Field(
        30, ge=1, description="Days that backups stay which no BACKUP_KEEP_… keeps."
    )
    backup_max_count: int = Field(
        10, ge=1, description="How many of those stay at the most, of each series; newest first."
    )
    backup_keep_daily: int = Field(
        30, ge=0, description="Days back of which the best backup stays; 0: none."
    )
    backup_keep_weekly: int = Field(12, ge=0, description="Weeks, the same (ISO 8601).")
    backup_keep_monthly: int = Field(12, ge=0, description="Months, the same.")
    backup_keep_yearly: int = Field(7, ge=0, description="Years, the same.")
    backup_timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", description="Zone in which the days of retention begin, e.g. `Europe/Berlin`."
    )
    backup_prune_after_backup: bool = Field(
        default=True, description="Prune a series after each successful backup of it."
    )
    backup_audit: bool = Field(
        default=True, description="Keep the audit log in the repository: who did what, and when."
    )
    backup_audit_days: Annotated[int, AfterValidator(_a_year_or_for_ever)] = Field(
        400, ge=0, description="Days that its entries stay, at least 365; 0: for ever."
    )
    backup_audit_host: str = Field(
        "",
        description="Name of this machine in it; the host's name when empty. Set it where that "
        "changes, as in containers. No two machines may have the same.",
    )
    backup_audit_key_file: OptionalPath = Field(
        None,
        description="File of the Ed25519 key that signs it, made at the first use; `audit-key` in "
        "BACKUP_STATE_DIR when unset.",
    )
    backup_anomaly_watch: bool = Field(
        default=True,
        description="Compare each backup with those before it; hold the last good one where it is "
        "unlike them.",
    )
    backup_check_space: bool = Field(
        default=True,
        description="Refuse to begin a backup where less space is free than the last one took.",
    )
    db_host: str = Field("localhost", min_length=1, description="Host of the database server.")
    db_port: int = Field(3306, ge=1, le=65535, description="TCP port of the server.")
    db_socket: str = Field("", description="Unix socket; used when DB_HOST is localhost.")
    db_name: str = Field(
        "ulasis", min_length=1, description="Database, several (`a,b`), or all (`*`)."
    )
    db_user: str = Field("backup_user", description="Login that reads (backups).")
    db_password: SecretStr = Field(SecretStr(""), description="Its password.")
    db_password_file: OptionalPath = Field(None, description="File that holds the password.")
    db_ssl_require: bool = Field(
        default=False, description="Refuse connections over TCP without TLS."
    )
    db_ssl_ca: str = Field("", description="CA file; with it the server's identity is verified.")
    db_restore_user: str = Field("", description="Login that writes (restores); else DB_USER.")
    db_restore_password: SecretStr | None = Field(None, description="Its password.")
    db_restore_password_file: OptionalPath = Field(
        None, description="File that holds the restore password."
    )
    slack_webhook_url: OptionalSecret = Field(
        None, description="Webhook of Slack, or of what speaks its format, that gets alerts."
    )
    slack_webhook_url_file: OptionalPath = Field(None, description="File that holds the URL.")
    backup_alert_urls: OptionalSecret = Field(
        None, description="Addresses of apprise that get alerts: `a,b`."
    )
    backup_alert_urls_file: OptionalPath = Field(
        None, description="File that holds the addresses, one a line."
    )
    backup_alert_mail_to: str = Field("", description="Mail addresses that get alerts: `a,b`.")
    backup_alert_mail_from: str = Field(
        "", description="Sender of these mails; ulasis-backup@ this host when empty."
    )
    smtp_host: str = Field("localhost", min_length=1, description="Mail server.")
    smtp_port: int = Field(
        0, ge=0, le=65535, description="Its port; 0: 587, 465 with `tls`, 25 with `none`."
    )
    smtp_tls: Annotated[
        Literal["", "starttls", "tls", "none"], BeforeValidator(_true_means_starttls)
    ] = Field("", description="TLS to it; empty: `none` on this machine, else `starttls`.")
    smtp_user: str = Field("", description="Login at the mail server; empty: without one.")
    smtp_password: OptionalSecret = Field(None, description="Its password.")
    smtp_password_file: OptionalPath = Field(None, description="File that holds the password.")
    backup_alert_remind_hours: int = Field(
        24, ge=1, description="Hours after which an open incident is told of again."
    )
    backup_alert_on_success: bool = Field(
        default=False, description="Also tell of runs in which all went well."
    )
    backup_ping_url: OptionalSecret = Field(
        None,
        description="Address of a dead-man's switch that `backup` calls: with `/start`, plain, or "
        "with `/fail`.",
    )
    backup_ping_url_file: OptionalPath = Field(None, description="File that holds the address.")
    backup_hook_before_backup: str = Field(
        "", description="Command before `backup`; when it fails, nothing is done."
    )
    backup_hook_after_backup: str = Field("", description="Command after `backup`.")
    backup_hook_before_restore: str = Field("", description="Command before `restore`.")
    backup_hook_after_restore: str = Field("", description="Command after `restore`.")
    backup_hook_before_verify: str = Field(
        "", description="Command before `verify`, `verify-all` and `test-restore`."
    )
    backup_hook_after_verify: str = Field("", description="Command after them.")
    backup_hook_before_prune: str = Field("", description="Command before `prune`.")
    backup_hook_after_prune: str = Field("", description="Command after `prune`.")
    backup_hook_timeout: int = Field(
        300, ge=1, description="Seconds after which a hook is ended, and has failed."
    )


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a setting that lists them with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
