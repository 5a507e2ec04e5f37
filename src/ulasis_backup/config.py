"""Settings: flags > environment > ``.env`` > TOML file, read once into one frozen value.

Every setting has one name. ``BACKUP_DIR`` in the environment and in ``.env`` is ``backup_dir``
in the TOML file. Secrets may also be given as the path of a file: ``DB_PASSWORD_FILE``.
The strategy's variables keep their names and meaning.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import socket
import tomllib
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from ulasis_backup.assertions import Assertion
from ulasis_backup.errors import SettingsError
from ulasis_backup.model import Login, Secret

SECRETS = (
    "backup_encryption_key", "db_password", "db_restore_password", "slack_webhook_url",
    "backup_alert_urls", "backup_ping_url", "smtp_password",
    "backup_pushgateway_url",
)  # fmt: skip
FLAGS = {
    "backup_dir": "--backup-dir",
    "db_name": "--database",
    "db_host": "--host",
    "db_port": "--port",
    "db_socket": "--socket",
    "db_user": "--user",
}
"""The settings that have an option on the command line."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
KEY_HINT = "run `ulasis-backup keys generate`, keep the key apart from the backups, set it"


def _empty_is_unset(value: object) -> object:
    return None if value == "" else value


def _true_means_starttls(value: object) -> object:
    """Understand what applications, with which we may share these variables, write."""
    text = str(value).lower()
    return {"true": "starttls", "1": "starttls", "false": "none", "0": "none"}.get(text, value)


OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_empty_is_unset)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_unset)]


def _from_json(value: object) -> object:
    """Return a list that an environment variable gives as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(json.loads(value)) if value.strip() else ()
    except (ValueError, TypeError):
        msg = "not a list in JSON"
        raise ValueError(msg) from None


OptionalBool = Annotated[bool | None, BeforeValidator(_empty_is_unset)]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings as the program uses them: validated, secrets wrapped, logins put together.

    ``sources`` are the files they were read from; ``key`` is the user's key as it was typed;
    ``flags`` are the words on the command line that chose server and repository.
    """

    settings: Settings
    key: Secret | None
    encrypt: bool
    sources: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def databases(self) -> tuple[str, ...]:
        """Return the databases of DB_NAME, in order; ``("*",)`` means all."""
        names = tuple(name.strip() for name in self.settings.db_name.split(","))
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def reading(self) -> Login:
        """Return the login that makes backups; it needs no right to write."""
        return self._login(self.settings.db_user, self.settings.db_password, role="DB_USER")

    @property
    def writing(self) -> Login:
        """Return the login that restores: DB_RESTORE_USER, or DB_USER where there is none."""
        settings = self.settings
        if not settings.db_restore_user:
            return self.reading
        password = settings.db_restore_password or SecretStr("")
        return self._login(settings.db_restore_user, password, role="DB_RESTORE_USER")

    @property
    def state_folder(self) -> Path:
        """Return where this machine remembers things beside the repository; it may not exist."""
        if self.settings.backup_state_dir:
            return self.settings.backup_state_dir
        if hasattr(os, "getuid") and os.getuid() == 0:
            return Path("/var/lib/ulasis-backup")
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(base) / "ulasis-backup"

    @property
    def state_id(self) -> str:
        """Return what tells the state of these settings from that of others on this machine.

        By the repository, the server and the databases.
        """
        place = str(self.settings.backup_dir.absolute())
        words = (place, self.server_name, *self.databases)
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]

    @property
    def server_name(self) -> str:
        """Return the name under which backups of this server form a series.

        It rests on the settings alone, so that ``latest`` works when the server is gone.
        """
        settings = self.settings
        if settings.backup_server_name:
            return settings.backup_server_name
        local = settings.db_host in LOCAL_HOSTS
        host = socket.gethostname() if local else settings.db_host
        by_socket = settings.db_socket and settings.db_host == "localhost"
        return f"{host}:{settings.db_socket if by_socket else settings.db_port}"

    def _login(self, user: str, password: SecretStr, *, role: str) -> Login:
        settings = self.settings
        return Login(
            host=settings.db_host,
            port=settings.db_port,
            socket=settings.db_socket,
            user=user,
            password=Secret(password.get_secret_value()),
            # Whoever names a CA wants the server to prove itself.
            ssl_require=settings.db_ssl_require or bool(settings.db_ssl_ca),
            ssl_ca=settings.db_ssl_ca,
            role=role,
        )


def make_config(
    settings: Settings, *, sources: tuple[str, ...] = (), flags: tuple[str, ...] = ()
) -> Config:
    """Return *settings* as the program uses them; raises SettingsError."""
    typed = settings.backup_encryption_key
    key = Secret(typed.get_secret_value()) if typed else None
    encrypt = _encrypts(settings, key)
    return Config(settings=settings, key=key, encrypt=encrypt, sources=sources, flags=flags)


def _refuse_empty(values: Mapping[str, object]) -> None:
    """Raise SettingsError for settings that are there but empty, where that cannot be meant."""
    for name, more in (("backup_encryption_key", f" ({KEY_HINT})"), ("backup_dir", "")):
        if values.get(name) == "":
            message = f"{name.upper()} is set, but empty"
            raise SettingsError(message, hint=f"give it a value{more}, or remove it")


def _encrypts(settings: Settings, key: Secret | None) -> bool:
    wanted = settings.backup_encryption_enabled
    if wanted and key is None:
        message = "BACKUP_ENCRYPTION_ENABLED is true and there is no BACKUP_ENCRYPTION_KEY"
        raise SettingsError(message, hint=KEY_HINT)
    return key is not None if wanted is None else wanted


def read_config(
    *,
    flags: Mapping[str, str | None],
    config_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Config:
    """Read all settings: *flags* > *environment* > ``.env`` in *folder* > the TOML file.

    *flags* are keyed by setting in lower case; None means not given. Without *config_file* the
    first of ``ulasis-backup.toml`` in *folder*, in ``~/.config/ulasis-backup/`` and in
    ``/etc/ulasis-backup/`` is used. Raises SettingsError.
    """
    folder = folder or Path.cwd()
    toml_file = config_file or _find_toml(folder)
    values = _from_toml(toml_file) if toml_file else {}
    sources = [str(toml_file)] if toml_file else []
    dotenv = folder / ".env"
    if dotenv.is_file():
        _expect_readable(dotenv)
        # Without interpolation: a password may well contain `${`.
        values |= _ours(dotenv_values(dotenv, interpolate=False))
        sources.append(str(dotenv))
    values |= _ours(os.environ if environment is None else environment)
    values |= {name: value for name, value in flags.items() if value is not None}
    values = _read_secret_files(values)
    _refuse_empty(values)
    settings = _validate(values)
    return make_config(settings, sources=tuple(sources), flags=_words(flags, config_file))


def _words(flags: Mapping[str, str | None], config_file: Path | None) -> tuple[str, ...]:
    """Return the global options that were given, as words of a command line."""
    words = ["--config", str(config_file.absolute())] if config_file else []
    for name, option in FLAGS.items():
        value = flags.get(name)
        if value is not None:
            # The words may be used again from another folder.
            words += [option, str(Path(value).absolute()) if name == "backup_dir" else value]
    return tuple(words)


def exposed_sources(config: Config) -> tuple[str, ...]:
    """Return the settings files that every user of the machine can read."""
    return tuple(name for name in config.sources if Path(name).stat().st_mode & 0o004)


def _find_toml(folder: Path) -> Path | None:
    places = (
        folder / "ulasis-backup.toml",
        Path.home() / ".config" / "ulasis-backup" / "ulasis-backup.toml",
        Path("/etc/ulasis-backup/ulasis-backup.toml"),
    )
    return next((place for place in places if place.is_file()), None)


def _from_toml(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot read the settings file {path}: {error.strerror}"
        raise SettingsError(message, hint="check the path given with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not valid TOML: {error}"
        raise SettingsError(message, hint="`ulasis-backup init` writes a good example") from None
    if "assertions" in values:
        values["backup_assertions"] = values.pop("assertions")
    for name in values:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else "see docs/reference/settings.md"
            raise SettingsError(f"{path}: unknown setting {name}", hint=hint)
    return dict(values)


def _expect_readable(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise SettingsError(message, hint="make it readable for this user, or remove it") from None


def _ours(values: Mapping[str, str | None]) -> dict[str, object]:
    """Pick our settings out of an environment, in lower case."""
    found: dict[str, object] = {}
    for field in Settings.model_fields:
        value = values.get(field.upper())
        if value is not None:
            found[field] = value
    return found


def _read_secret_files(values: dict[str, object]) -> dict[str, object]:
    for secret in SECRETS:
        path = values.get(f"{secret}_file")
        if not path:
            continue
        if values.get(secret):
            name = secret.upper()
            raise SettingsError(
                f"both {name} and {name}_FILE are set",
                hint=f"remove one of them: {name} or the file",
            )
        values[secret] = _read_secret_file(f"{secret.upper()}_FILE", Path(str(path)))
    return values


def _read_secret_file(name: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{name}: cannot read {path}: {error.strerror}"
        raise SettingsError(message, hint="check the path and that this user may read it") from None
    except UnicodeDecodeError:
        message = f"{name}: {path} is not text"
        raise SettingsError(message, hint="the file must hold the secret as text") from None
    return text.rstrip("\r\n")


def _validate(values: dict[str, object]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        # Never str(error): it could show what was typed, and that may be a secret.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        message = f"{name}: {first['msg'].lower()}"
        raise SettingsError(message, hint="see docs/reference/settings.md") from None
