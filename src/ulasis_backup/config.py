"""Settings: flags > environment > ``.env`` > TOML file, read once into one frozen value.

Every setting has one name. ``BACKUP_DIR`` in the environment and in ``.env`` is ``backup_dir``
in the TOML file. Secrets may also be given as the path of a file: ``DB_PASSWORD_FILE``.
The strategy's variables keep their names and meaning.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from pydantic import (
    SecretStr,
    ValidationError,
)

from ulasis_backup.errors import SettingsError
from ulasis_backup.model import Login, Secret
from ulasis_backup.settings import SECRETS, Settings, listed

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
        return tuple(dict.fromkeys(listed(self.settings.db_name)))

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
    def place(self) -> str:
        """Return the repository's place, the same however its path is written."""
        return os.path.realpath(self.settings.backup_dir)

    @property
    def state_id(self) -> str:
        """Return what tells the state of these settings from that of others on this machine.

        By the repository, the server and the databases.
        """
        words = (self.place, self.server_name, *self.databases)
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
    return make_config(settings, sources=tuple(sources), flags=words_of(flags, config_file))


def words_of(flags: Mapping[str, str | None], config_file: Path | None) -> tuple[str, ...]:
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
