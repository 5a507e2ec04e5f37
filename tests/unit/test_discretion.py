"""What must not leave the machine in an alert."""

from __future__ import annotations

import pytest

from ulasis_backup.config import read_config
from ulasis_backup.observers.channels import addresses, channels_of
from ulasis_backup.observers.discretion import MOST_CHARACTERS, discreet, secrets_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Duplicate entry 'ada@example.com-7' for key 'email'", "ada@example.com"),
        ("Duplicate entry 'it''s \\'Ada\\'' for key 'name'", "Ada"),
        ("Incorrect integer value: 'Ada' for column `u`.`t`.`c` at row 1", "Ada"),
        ("Truncated incorrect DOUBLE value: 'Ada'", "Ada"),
        ("the right syntax to use near 'Ada', 3, 4)' at line 1", "Ada"),
        ("cannot reach mysql://root:Ada@db1/x", "Ada"),
        ("near 'Ada without an end", "Ada"),
        ("(row 3, first column 'Ada: B': 0123456789ab in the backup, no row now)", "Ada"),
        ("shop.users, from key 7, Bob: Ada: the object is damaged", "Ada"),
        ("(row 3, first column Ada: no row in the backup, 0123456789ab now)", "Ada"),
        ("t differ (from key 7, Ada to the last key: 0123456789ab in the backup, nothing)", "Ada"),
        ("t differ (from the first key to key Ada: nothing in the backup, 01 now)", "Ada"),
        ("t differ (from key Ada to key 9 to key Ada: 0123456789ab in the backup)", "Ada"),
    ],
)
def test_values_of_rows_and_logins_are_hidden(text: str, value: str) -> None:
    assert value not in discreet(text, ())


def test_names_of_tables_and_users_stay_readable() -> None:
    text = "GRANT SELECT ON `ulasis`.* TO 'backup'@'localhost'; table 'orders' is crashed"

    assert discreet(text, ()) == text


def test_secrets_are_hidden_wherever_they_stand_and_control_characters_too() -> None:
    assert (
        discreet("login s3cret/s3cret-more\x1b[2J", ("s3cret", "s3cret-more"))
        == "login …/…\\x1b[2J"
    )


def test_a_long_text_is_cut() -> None:
    assert len(discreet("x" * 9999, ())) == MOST_CHARACTERS + 1


def test_every_secret_of_the_settings_is_known() -> None:
    environment = {
        "SLACK_WEBHOOK_URL": "http://h/1", "BACKUP_ALERT_URLS": "json://h/2",
        "BACKUP_PING_URL": "http://h/3", "SMTP_PASSWORD": "4", "DB_PASSWORD": "5",
        "DB_RESTORE_PASSWORD": "6", "BACKUP_ENCRYPTION_KEY": "00" * 32,
    }  # fmt: skip
    config = read_config(flags={}, environment=environment)

    assert set(secrets_of(config.settings)) == set(environment.values())


def test_addresses_are_parted_by_commas_and_lines_but_not_inside_one() -> None:
    text = "mailto://u:p@h?to=a@b.c,d@e.f, json://one/x\nslack://A/B/C\n"
    config = read_config(flags={}, environment={"BACKUP_ALERT_URLS": text})

    assert addresses(config.settings.backup_alert_urls) == (
        "mailto://u:p@h?to=a@b.c,d@e.f", "json://one/x", "slack://A/B/C",
    )  # fmt: skip


def test_labels_and_ids_of_channels_hold_nothing_of_the_address() -> None:
    environment = {
        "SLACK_WEBHOOK_URL": "https://hooks.example/TOKEN", "BACKUP_ALERT_URLS": "tgram://TOKEN/1",
        "BACKUP_ALERT_MAIL_TO": "ops@example.com", "SMTP_PASSWORD": "TOKEN",
    }  # fmt: skip
    found = channels_of(read_config(flags={}, environment=environment).settings)

    assert [c.label for c in found] == [
        "slack",
        "mail to ops@example.com",
        "alert address 1 (tgram)",
    ]
    assert "TOKEN" not in "".join(c.label + c.id for c in found)
