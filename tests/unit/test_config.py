"""Settings: where they come from, which one wins, and what is said about bad ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ulasis_backup.config import Config, exposed_sources, read_config
from ulasis_backup.errors import SettingsError
from ulasis_backup.settings import Settings

KEY = "00" * 32
STRATEGY = {
    "BACKUP_DIR": "/path/to/backups",
    "BACKUP_COMPRESSION_LEVEL": "6",
    "BACKUP_ENCRYPTION_ENABLED": "true",
    "BACKUP_ENCRYPTION_KEY": KEY,
    "BACKUP_RETENTION_DAYS": "30",
    "BACKUP_MAX_COUNT": "10",
    "DB_HOST": "localhost",
    "DB_PORT": "3306",
    "DB_NAME": "ulasis",
    "DB_USER": "backup_user",
    "DB_PASSWORD": "secure_password",
    "DB_SSL_REQUIRE": "true",
}


def read(
    folder: Path,
    *,
    flags: Mapping[str, str | None] | None = None,
    env: Mapping[str, str] | None = None,
    config_file: Path | None = None,
) -> Config:
    return read_config(
        flags=flags or {}, environment=env or {}, folder=folder, config_file=config_file
    )


def write(folder: Path, *, toml: str = "", dotenv: str = "") -> None:
    if toml:
        (folder / "ulasis-backup.toml").write_text(toml)
    if dotenv:
        (folder / ".env").write_text(dotenv)


def refused(
    folder: Path, *, env: Mapping[str, str] | None = None, config_file: Path | None = None
) -> SettingsError:
    with pytest.raises(SettingsError) as found:
        read(folder, env=env, config_file=config_file)
    assert found.value.hint
    return found.value


@pytest.fixture(autouse=True)
def no_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


def test_the_variables_of_the_strategy_mean_what_they_say(tmp_path: Path) -> None:
    config = read(tmp_path, env=STRATEGY)
    settings = config.settings
    assert settings.backup_dir == Path("/path/to/backups")
    assert (settings.backup_compression, settings.backup_compression_level) == ("gzip", 6)
    assert (config.encrypt, settings.backup_encryption_cipher) == (True, "aes-256-cbc")
    assert config.databases == ("ulasis",)
    login = config.reading
    assert (login.host, login.port, login.user) == ("localhost", 3306, "backup_user")
    assert (login.password.reveal(), login.ssl_require) == ("secure_password", True)


def test_flags_win_over_the_environment_over_dotenv_over_toml(tmp_path: Path) -> None:
    write(
        tmp_path,
        toml='db_name = "toml"\ndb_user = "toml"\ndb_host = "toml"\nbackup_name = "toml"\n',
        dotenv="DB_NAME=dotenv\nDB_USER=dotenv\nDB_HOST=dotenv\n",
    )
    env = {"DB_NAME": "environment", "DB_USER": "environment"}
    flags = {"db_name": "flag", "db_user": None}
    settings = read(tmp_path, flags=flags, env=env).settings
    found = (settings.db_name, settings.db_user, settings.db_host, settings.backup_name)
    assert found == ("flag", "environment", "dotenv", "toml")


def test_a_settings_file_may_be_named(tmp_path: Path) -> None:
    write(tmp_path, toml='db_name = "default"\n')
    other = tmp_path / "other.toml"
    other.write_text('db_name = "named"\n')
    config = read(tmp_path, config_file=other)
    assert config.settings.db_name == "named"
    assert config.sources == (str(other),)


def test_a_settings_file_that_is_named_and_missing_is_refused(tmp_path: Path) -> None:
    assert "nowhere.toml" in refused(tmp_path, config_file=tmp_path / "nowhere.toml").message


@pytest.mark.parametrize("toml", ["db_name = ", "db_name", "\x00", "[backup]\ndir = 1"])
def test_a_settings_file_that_is_no_flat_toml_is_refused(tmp_path: Path, toml: str) -> None:
    write(tmp_path, toml=toml)
    assert "ulasis-backup.toml" in refused(tmp_path).message


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("db_nam", "db_name"), ("backup_directory", "backup_dir"), ("db_sslca", "db_ssl_ca")],
)
def test_an_unknown_setting_in_toml_names_the_one_that_was_meant(
    tmp_path: Path, typed: str, meant: str
) -> None:
    write(tmp_path, toml=f'{typed} = "x"\n')
    error = refused(tmp_path)
    assert typed in error.message
    assert meant in error.hint


def test_variables_of_other_programs_are_none_of_our_business(tmp_path: Path) -> None:
    write(tmp_path, dotenv="NODE_ENV=production\nDB_DIALECT=mysql\nJWT_SECRET=x\nBROKEN LINE\n")
    read(tmp_path, env={"DB_POOL": "5", "BACKUP_SOMETHING": "else"})


@pytest.mark.parametrize(
    "password",
    ["pa${HOME}ss", "$USER", "a#b", "a b", "ümläut", "a=b", "`id`", "%s", "{x}", "a\\b"],
)
def test_a_password_in_dotenv_is_taken_as_it_stands(tmp_path: Path, password: str) -> None:
    write(tmp_path, dotenv=f"DB_PASSWORD='{password}'\n".replace("\\", "\\\\"))
    assert read(tmp_path).reading.password.reveal() == password


def test_an_unquoted_password_with_a_dollar_is_not_expanded(tmp_path: Path) -> None:
    write(tmp_path, dotenv="DB_PASSWORD=pa${HOME}ss\n")
    assert read(tmp_path).reading.password.reveal() == "pa${HOME}ss"


@pytest.mark.parametrize("name", ["DB_PASSWORD", "DB_RESTORE_PASSWORD", "BACKUP_ENCRYPTION_KEY"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_may_lie_in_a_file(tmp_path: Path, name: str, end: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" {KEY} ".encode() + end.encode())
    config = read(tmp_path, env={f"{name}_FILE": str(path), "DB_RESTORE_USER": "r"})
    found = {
        "DB_PASSWORD": config.reading.password,
        "DB_RESTORE_PASSWORD": config.writing.password,
        "BACKUP_ENCRYPTION_KEY": config.key,
    }[name]
    # Blanks may be part of a password; the end of the line is not.
    assert found
    assert found.reveal() == f" {KEY} "


@pytest.mark.parametrize("name", ["DB_PASSWORD", "DB_RESTORE_PASSWORD", "BACKUP_ENCRYPTION_KEY"])
def test_a_secret_and_its_file_together_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "secret"
    path.write_text("from the file")
    error = refused(tmp_path, env={name: "from the variable", f"{name}_FILE": str(path)})
    assert "both" in error.message
    assert "from the" not in error.message + error.hint


def test_a_file_that_cannot_be_read_or_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert str(path) in refused(tmp_path, env={"DB_PASSWORD_FILE": str(path)}).message
    path.write_bytes(b"\xff\xfe")
    assert "not text" in refused(tmp_path, env={"DB_PASSWORD_FILE": str(path)}).message
    assert refused(tmp_path, env={"DB_PASSWORD_FILE": str(tmp_path)}).message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BACKUP_COMPRESSION_LEVEL", "0"),
        ("BACKUP_COMPRESSION_LEVEL", "10"),
        ("BACKUP_COMPRESSION_LEVEL", "fast"),
        ("BACKUP_COMPRESSION", "bzip2"),
        ("BACKUP_ENCRYPTION_ENABLED", "perhaps"),
        ("BACKUP_ENCRYPTION_CIPHER", "rot13"),
        ("BACKUP_RETENTION_DAYS", "0"),
        ("BACKUP_MAX_COUNT", "-1"),
        ("DB_PORT", "65536"),
        ("DB_PORT", "tcp"),
        ("DB_SSL_REQUIRE", "maybe"),
        ("BACKUP_METHOD", "physical"),
        ("BACKUP_DDL", "allow"),
        ("DB_NAME", ""),
        ("DB_HOST", ""),
    ],
)
def test_a_bad_value_is_refused_and_its_setting_is_named(
    tmp_path: Path, name: str, value: str
) -> None:
    assert name in refused(tmp_path, env={name: value}).message


@pytest.mark.parametrize("source", ["environment", "dotenv", "toml"])
def test_no_refusal_shows_a_secret(tmp_path: Path, source: str) -> None:
    secrets = {
        "DB_PASSWORD": "hunter-2",
        "DB_RESTORE_PASSWORD": "hunter-3",
        "BACKUP_ENCRYPTION_KEY": "hunter-4",
        "SLACK_WEBHOOK_URL": "https://hunter-5",
    }
    values = secrets | {"DB_PORT": "hunter-6"}
    env = values if source == "environment" else {}
    if source == "dotenv":
        write(tmp_path, dotenv="".join(f"{name}={value}\n" for name, value in values.items()))
    if source == "toml":
        lines = (f'{name.lower()} = "{value}"\n' for name, value in values.items())
        write(tmp_path, toml="".join(lines))
    error = refused(tmp_path, env=env)
    assert "DB_PORT" in error.message
    for secret in secrets.values():
        assert secret not in f"{error} {error!r} {error.hint} {error.__cause__!r}"


def test_a_secret_of_the_wrong_type_in_toml_is_refused_unseen(tmp_path: Path) -> None:
    write(tmp_path, toml="db_password = 1234567\n")
    error = refused(tmp_path)
    assert "1234567" not in f"{error} {error.hint} {error.__context__!r}"


def test_settings_and_config_do_not_show_secrets(tmp_path: Path) -> None:
    config = read(tmp_path, env=STRATEGY)
    for shown in (repr(config), str(config.settings), repr(config.reading)):
        assert "secure_password" not in shown
        assert KEY not in shown


def test_encryption_without_a_key_is_refused(tmp_path: Path) -> None:
    for key in ({}, {"BACKUP_ENCRYPTION_KEY": ""}):
        error = refused(tmp_path, env={"BACKUP_ENCRYPTION_ENABLED": "true", **key})
        assert "keys generate" in error.hint


@pytest.mark.parametrize(
    ("enabled", "key", "encrypts"),
    [
        (None, KEY, True),
        ("", KEY, True),
        ("false", KEY, False),
        ("true", KEY, True),
    ],
)
def test_with_a_key_backups_are_encrypted_unless_switched_off(
    tmp_path: Path, enabled: str | None, key: str, *, encrypts: bool
) -> None:
    env = {"BACKUP_ENCRYPTION_KEY": key}
    if enabled is not None:
        env["BACKUP_ENCRYPTION_ENABLED"] = enabled
    config = read(tmp_path, env=env)
    assert config.encrypt is encrypts
    assert config.key is not None


@pytest.mark.parametrize("name", ["BACKUP_ENCRYPTION_KEY", "BACKUP_DIR"])
def test_what_must_not_be_empty_is_refused_when_it_is(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path, env={name: ""})
    assert name in error.message
    assert "empty" in error.message


def test_empty_variables_of_optional_settings_mean_unset(tmp_path: Path) -> None:
    optional = (
        "BACKUP_ENCRYPTION_KEY_FILE", "BACKUP_ENCRYPTION_ENABLED",
        "BACKUP_PROGRAMS_DIR", "DB_PASSWORD", "DB_PASSWORD_FILE", "DB_SOCKET", "DB_SSL_CA",
        "DB_RESTORE_USER", "DB_RESTORE_PASSWORD", "DB_RESTORE_PASSWORD_FILE", "BACKUP_NAME",
        "SLACK_WEBHOOK_URL", "SLACK_WEBHOOK_URL_FILE",
    )  # fmt: skip
    empty = read(tmp_path, env=dict.fromkeys(optional, ""))
    unset = read(tmp_path)
    assert empty.reading == unset.reading
    assert empty.writing == unset.writing
    assert (empty.key, empty.encrypt) == (None, False)
    assert empty.settings.backup_programs_dir is None


def test_restores_use_a_login_of_their_own_where_there_is_one(tmp_path: Path) -> None:
    env = STRATEGY | {"DB_RESTORE_USER": "restorer", "DB_RESTORE_PASSWORD": "other"}
    config = read(tmp_path, env=env)
    assert (config.writing.user, config.writing.password.reveal()) == ("restorer", "other")
    assert config.writing.role == "DB_RESTORE_USER"
    assert config.reading.user == "backup_user"
    assert read(tmp_path, env=STRATEGY).writing == read(tmp_path, env=STRATEGY).reading


@pytest.mark.parametrize(
    ("typed", "names"),
    [("a", ("a",)), ("a,b", ("a", "b")), (" a , b ,", ("a", "b")), ("a,a", ("a",)), ("*", ("*",))],
)
def test_db_name_may_name_several(tmp_path: Path, typed: str, names: tuple[str, ...]) -> None:
    assert read(tmp_path, env={"DB_NAME": typed}).databases == names


def test_the_socket_is_used_for_localhost_alone(tmp_path: Path) -> None:
    socket = {"DB_SOCKET": "/run/db.sock"}
    assert read(tmp_path, env=socket | {"DB_HOST": "localhost"}).reading.by_socket
    assert not read(tmp_path, env=socket | {"DB_HOST": "127.0.0.1"}).reading.by_socket
    assert not read(tmp_path, env={"DB_HOST": "localhost"}).reading.by_socket


def test_servers_have_names_that_tell_them_apart(tmp_path: Path) -> None:
    envs = (
        {"DB_HOST": "db1"},
        {"DB_HOST": "db2"},
        {"DB_HOST": "db1", "DB_PORT": "3307"},
        {"DB_HOST": "localhost"},
        {"DB_HOST": "localhost", "DB_SOCKET": "/a"},
        {"DB_HOST": "localhost", "DB_SOCKET": "/b"},
    )
    assert len({read(tmp_path, env=env).server_name for env in envs}) == len(envs)
    same = ({"DB_HOST": host} for host in ("localhost", "127.0.0.1", "::1"))
    assert len({read(tmp_path, env=env).server_name for env in same}) == 1
    assert read(tmp_path, env={"BACKUP_SERVER_NAME": "main"}).server_name == "main"


def test_settings_files_that_everybody_can_read_are_named(tmp_path: Path) -> None:
    write(tmp_path, dotenv="DB_NAME=x\n", toml='db_user = "y"\n')
    dotenv, toml = tmp_path / ".env", tmp_path / "ulasis-backup.toml"
    toml.chmod(0o600)
    dotenv.chmod(0o644)
    assert exposed_sources(read(tmp_path)) == (str(dotenv),)


def test_every_setting_has_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("true", "starttls"), ("FALSE", "none"), ("tls", "tls"), ("", ""), ("starttls", "starttls")],
)
def test_tls_of_mail_is_understood_as_applications_write_it(
    tmp_path: Path, typed: str, meant: str
) -> None:
    assert read(tmp_path, env={"SMTP_TLS": typed}).settings.smtp_tls == meant


@pytest.mark.parametrize("name", ["SLACK_WEBHOOK_URL", "BACKUP_ALERT_URLS", "BACKUP_PING_URL"])
def test_an_address_can_lie_in_a_file_and_is_not_shown(tmp_path: Path, name: str) -> None:
    (tmp_path / "address").write_text("https://example.com/TOKEN\n")
    settings = read(tmp_path, env={f"{name}_FILE": str(tmp_path / "address")}).settings

    assert getattr(settings, name.lower()).get_secret_value() == "https://example.com/TOKEN"
    assert "TOKEN" not in repr(settings)
