"""Alerts on their way: real receivers that answer, refuse, hang, and come back."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import default
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from support.faults import fill
from support.receivers import Receiver, receiver, wait_until
from support.server import free_port
from ulasis_backup.config import read_config
from ulasis_backup.observers import book as books
from ulasis_backup.observers import notify
from ulasis_backup.observers.incidents import Incident, Severity
from ulasis_backup.statefile import locked

pytestmark = [
    # Libraries that load what will be gone in a later Python, or warn of what a test wants.
    pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning"),
]
NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
FAILED = Incident(
    key="backup", severity=Severity.FAILURE, title="backup of <a> & b failed", text="What: it"
)


def alerts_for(folder: Path, **settings: str) -> notify.Alerts:
    environment = {"BACKUP_STATE_DIR": str(folder / "state"), **settings}
    return notify.alerts_of(read_config(flags={}, environment=environment, folder=folder))


def report(
    alerts: notify.Alerts, *found: Incident, at: datetime = NOW, seconds: float = 10
) -> notify.Sent:
    return notify.report(alerts, found, checked=("backup",), now=at, seconds=seconds)


def report_another(alerts: notify.Alerts) -> None:
    """Report an incident beside FAILED."""
    other = replace(FAILED, key="prune", title="prune failed")
    notify.report(alerts, [other], checked=("prune",), now=NOW)


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def alerts(tmp_path: Path, slack: Receiver) -> notify.Alerts:
    return alerts_for(tmp_path, SLACK_WEBHOOK_URL=f"{slack.url}/services/TOKEN")


def test_slack_gets_its_format_with_its_signs_escaped(
    alerts: notify.Alerts, slack: Receiver
) -> None:
    assert report(alerts, FAILED) == notify.Sent(sent=1)

    ((path, body),) = slack.accepted
    assert path == "/services/TOKEN"
    assert json.loads(body) == {
        "text": "🔴 *ulasis-backup: backup of &lt;a&gt; &amp; b failed*\nWhat: it"
    }


@pytest.mark.parametrize("answer", [500, 302, 403])
def test_what_is_not_accepted_is_tried_again_and_arrives_once(
    alerts: notify.Alerts, slack: Receiver, answer: int
) -> None:
    slack.answer = answer
    refused = report(alerts, FAILED)
    slack.answer = 200
    too_early = notify.flush(alerts, now=NOW + timedelta(seconds=30))
    later = notify.flush(alerts, now=NOW + timedelta(minutes=1))
    nothing_left = notify.flush(alerts, now=NOW + timedelta(hours=1))

    assert refused == notify.Sent(waiting=1, problems=(f"slack: HTTP {answer}",))
    assert too_early == notify.Sent(waiting=1)
    assert later == notify.Sent(sent=1)
    assert nothing_left == notify.Sent()
    assert len(slack.accepted) == 1


def test_one_that_hangs_holds_nobody_up_and_the_other_channels_have_it(tmp_path: Path) -> None:
    with receiver(answer=0) as hanging, receiver() as well:
        alerts = alerts_for(
            tmp_path,
            SLACK_WEBHOOK_URL=f"{hanging.url}/services/TOKEN",
            BACKUP_ALERT_URLS=f"{well.url.replace('http', 'json')}/one",
        )
        sent = report(alerts, FAILED, seconds=5)
        hanging.answer = 200
        hanging.closing.set()
        wait_until(lambda: notify.flush(alerts, now=NOW, at_once=True) == notify.Sent(sent=1))

        assert sent == notify.Sent(waiting=1, problems=("slack: no answer in 5 s",))
        assert len(hanging.accepted) == 1
        assert well.paths() == ["/one"]


def test_what_a_slow_receiver_took_after_all_is_not_sent_again(
    alerts: notify.Alerts, slack: Receiver
) -> None:
    slack.delay = 3
    other = replace(FAILED, key="prune", title="prune failed")
    slow = notify.report(alerts, [FAILED, other], checked=(), now=NOW, seconds=1)
    meanwhile = notify.flush(alerts, now=NOW, at_once=True)
    wait_until(lambda: slack.accepted)
    slack.delay = 0
    wait_until(lambda: notify.flush(alerts, now=NOW, at_once=True) == notify.Sent(sent=2))

    assert slow.problems == ("slack: no answer in 1 s",)
    assert meanwhile.problems == ("slack: the try before has not ended",)
    assert [title(body)[:6] for body in slack.bodies()] == ["backup", "prune "]


def test_apprise_says_what_it_can_without_the_address(
    tmp_path: Path, slack: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    slack.answer = 503
    address = slack.url.replace("http", "json")
    alerts = alerts_for(tmp_path, BACKUP_ALERT_URLS=f"{address}/TOKEN,nonsense://TOKEN")

    sent = report(alerts, FAILED)

    assert sent.problems == (
        "alert address 1 (json): HTTP 503",
        "alert address 2 (nonsense): apprise does not understand the address",
    )
    assert "TOKEN" not in "".join(capfd.readouterr())
    assert "TOKEN" not in (alerts.shelf.book).read_text()


def test_nobody_there_and_no_such_host_are_said_in_words(tmp_path: Path) -> None:
    alerts = alerts_for(
        tmp_path,
        SLACK_WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/TOKEN",
        BACKUP_ALERT_MAIL_TO="ops@example.com",
        SMTP_HOST="127.0.0.1",
        SMTP_PORT=str(free_port()),
    )

    assert report(alerts, FAILED).problems == (
        "mail to ops@example.com: Connection refused",
        "slack: Connection refused",
    )


def test_the_queue_goes_to_the_corrected_address(tmp_path: Path, slack: Receiver) -> None:
    wrong = alerts_for(tmp_path, SLACK_WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/TYPO")
    right = alerts_for(tmp_path, SLACK_WEBHOOK_URL=f"{slack.url}/RIGHT")
    report(wrong, FAILED)

    assert notify.flush(right, now=NOW, at_once=True) == notify.Sent(sent=1)
    assert slack.paths() == ["/RIGHT"]


def test_messages_arrive_in_order_and_a_recovery_follows_its_failure(
    alerts: notify.Alerts, slack: Receiver
) -> None:
    slack.answer = 500
    report(alerts, FAILED)
    for minutes in (1, 3, 7, 15):
        notify.flush(alerts, now=NOW + timedelta(minutes=minutes))
    slack.answer = 200
    # The first is not to be tried again for a while; it goes all the same, before what follows it.
    report(alerts, at=NOW + timedelta(minutes=16))

    titles = [json.loads(body)["text"].splitlines()[0] for body in slack.bodies()]
    assert [title.split("ulasis-backup: ")[1][:6] for title in titles] == ["backup", "over: "]


def test_a_message_that_is_refused_for_good_blocks_no_other_and_is_given_up_soon(
    alerts: notify.Alerts, slack: Receiver
) -> None:
    slack.unwanted = "backup of"
    report(alerts, FAILED)
    other = replace(FAILED, key="prune", title="prune failed")
    sent = notify.report(alerts, [other], checked=("prune",), now=NOW + timedelta(minutes=1))
    later = [notify.flush(alerts, now=NOW + timedelta(hours=hour)) for hour in range(1, 6)]

    assert [title(body) for body in slack.bodies()] == ["prune failed"]
    assert sent == notify.Sent(sent=1, waiting=1, problems=("slack: HTTP 400",))
    assert later[2] == notify.Sent(waiting=1, problems=("slack: HTTP 400",))
    refused = "slack: given up, for it is refused for good: backup of <a> & b failed"
    assert later[3] == notify.Sent(sent=0, problems=("slack: HTTP 400", refused))
    assert later[4] == notify.Sent()
    assert notify.read(alerts).given_up == 1


def test_what_one_channel_refuses_for_good_is_kept_for_another_that_is_down(
    tmp_path: Path, slack: Receiver
) -> None:
    with receiver(answer=500) as down:
        address = down.url.replace("http", "json")
        alerts = alerts_for(tmp_path, SLACK_WEBHOOK_URL=slack.url, BACKUP_ALERT_URLS=address)
        slack.unwanted = "backup of"
        report(alerts, FAILED)
        report_another(alerts)
        for hour in range(1, 9):
            notify.flush(alerts, now=NOW + timedelta(hours=hour))
        down.answer = 200
        notify.flush(alerts, now=NOW + timedelta(hours=10))

        assert len(down.accepted) == 2
        assert len(slack.accepted) == 1
        assert notify.read(alerts).queue == ()
        assert notify.read(alerts).given_up == 1


def test_an_address_that_refuses_everything_gets_what_waits_once_it_is_right(
    alerts: notify.Alerts, slack: Receiver
) -> None:
    slack.answer = 404
    report(alerts, FAILED)
    report_another(alerts)
    for day in range(1, 7):
        notify.flush(alerts, now=NOW + timedelta(days=day, hours=-day))
    slack.answer = 200
    notify.flush(alerts, now=NOW + timedelta(days=7), at_once=True)

    assert sum("still open" not in body for body in slack.bodies()) == 2


@pytest.mark.parametrize("answer", [408, 429, 500])
def test_what_may_pass_keeps_the_order(alerts: notify.Alerts, slack: Receiver, answer: int) -> None:
    slack.unwanted, slack.refusal = "backup of", answer
    report(alerts, FAILED)
    report_another(alerts)

    assert slack.accepted == []


def test_what_is_given_up_is_said(alerts: notify.Alerts, slack: Receiver) -> None:
    slack.answer = 500
    report(alerts, FAILED)
    for hour in range(1, 5):
        notify.flush(alerts, now=NOW + timedelta(hours=hour))

    late = notify.flush(alerts, now=NOW + timedelta(days=8))

    assert "given up, for nobody took them in time: 1" in late.problems
    assert notify.read(alerts).given_up == 1


def test_a_clock_that_jumps_ahead_gives_up_nothing_that_was_not_tried(
    alerts: notify.Alerts, slack: Receiver
) -> None:
    slack.answer = 500
    report(alerts, FAILED)
    slack.answer = 200
    notify.flush(alerts, now=NOW + timedelta(days=900))

    assert title(slack.bodies()[0]) == "backup of &lt;a&gt; &amp; b failed"
    assert notify.read(alerts).given_up == 0


def test_while_another_run_sends_one_waits_and_leaves_the_message_to_be_sent(
    alerts: notify.Alerts, slack: Receiver
) -> None:
    alerts.shelf.book.parent.mkdir()
    with locked(alerts.shelf.sending, seconds=1):
        sent = report(alerts, FAILED, seconds=0.2)

    assert sent.problems == ("another run is sending at this moment",)
    assert notify.flush(alerts, now=NOW) == notify.Sent(sent=1)
    assert len(slack.accepted) == 1


def test_two_runs_at_once_send_each_message_once(alerts: notify.Alerts, slack: Receiver) -> None:
    slack.answer = 500
    report(alerts, FAILED)
    slack.answer = 200
    later = NOW + timedelta(minutes=5)
    threads = [
        threading.Thread(target=notify.flush, args=(alerts,), kwargs={"now": later})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(slack.accepted) == 1


def test_without_a_state_folder_the_alert_goes_out_all_the_same(
    tmp_path: Path, slack: Receiver
) -> None:
    (tmp_path / "state").write_text("a file in the way")
    alerts = alerts_for(tmp_path, SLACK_WEBHOOK_URL=slack.url)

    sent = report(alerts, FAILED)

    assert len(slack.accepted) == 1
    assert sent.sent == 1
    assert sent.problems[0].startswith("alerts are not remembered in ")


@needs_root
@pytest.mark.parametrize("reserve", [True, False])
def test_on_a_full_disk_what_waits_and_what_is_new_is_sent_once_and_so_is_its_end(
    small_disk: Path, slack: Receiver, *, reserve: bool
) -> None:
    alerts = alerts_for(small_disk, SLACK_WEBHOOK_URL=slack.url)
    slack.answer = 500
    report(alerts, FAILED)
    slack.answer = 200
    if not reserve:
        alerts.shelf.reserve.unlink()
    fill(small_disk / "filler", leaving=0)
    other = replace(FAILED, key="prune", title="prune failed")
    later = NOW + timedelta(minutes=5)

    for seconds in range(0, 180, 30):
        notify.flush(alerts, now=later + timedelta(seconds=seconds))
    for minute in range(3):
        found = (FAILED, other)
        at = later + timedelta(minutes=10 + minute)
        notify.report(alerts, found, checked=("backup", "prune"), now=at)
    for minute in range(3):
        report(alerts, at=later + timedelta(minutes=20 + minute))

    assert [title(body) for body in slack.bodies()] == [
        "backup of &lt;a&gt; &amp; b failed", "prune failed",
        "over: backup of &lt;a&gt; &amp; b failed",
    ]  # fmt: skip
    (small_disk / "filler").unlink()
    report(alerts, FAILED, at=later + timedelta(hours=1))
    kept = json.loads(alerts.shelf.book.read_text())["open"]
    assert [entry["incident"]["key"] for entry in kept] == ["prune", "backup"]


def title(body: str) -> str:
    """Return the first line of a message to Slack, without sign and program."""
    first: str = json.loads(body)["text"].splitlines()[0]
    return first.split("ulasis-backup: ")[1].rstrip("*")


@needs_root
def test_what_the_reserve_says_is_void_once_the_book_has_changed_or_a_byte_of_it(
    small_disk: Path, slack: Receiver
) -> None:
    alerts = alerts_for(small_disk, SLACK_WEBHOOK_URL=slack.url)
    report(alerts, FAILED)
    before = alerts.shelf.book.read_bytes()
    fill(small_disk / "filler", leaving=0)
    report(alerts)
    reserved = alerts.shelf.reserve.read_bytes()

    assert alerts.shelf.book.read_bytes() == before
    assert notify.read(alerts).open == ()
    alerts.shelf.reserve.write_bytes(reserved.replace(b'"open"', b'"opem"'))
    assert [entry.incident for entry in notify.read(alerts).open] == [FAILED]
    alerts.shelf.reserve.write_bytes(reserved)
    (small_disk / "filler").unlink()
    report(alerts, FAILED, at=NOW + timedelta(hours=2))
    assert [entry.incident for entry in notify.read(alerts).open] == [FAILED]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1, "open": 5}'])
def test_a_book_that_cannot_be_read_is_set_aside(
    alerts: notify.Alerts, slack: Receiver, text: str
) -> None:
    report(alerts, FAILED)
    alerts.shelf.book.write_text(text)

    assert report(alerts, FAILED) == notify.Sent(sent=1)
    assert alerts.shelf.book.with_suffix(".damaged").read_text() == text
    assert len(slack.accepted) == 2


def test_room_for_the_book_is_taken_before_there_is_anything_to_tell(
    alerts: notify.Alerts,
) -> None:
    report(alerts)

    assert alerts.shelf.reserve.stat().st_size == books.RESERVE_BYTES
    assert alerts.shelf.reserve.stat().st_blocks * 512 >= books.RESERVE_BYTES
    assert not alerts.shelf.book.exists()


def test_without_channels_nothing_is_written(tmp_path: Path) -> None:
    report(alerts_for(tmp_path), FAILED)

    assert list(tmp_path.iterdir()) == []


def test_what_is_told_and_kept_holds_no_secret(tmp_path: Path, slack: Receiver) -> None:
    alerts = alerts_for(tmp_path, SLACK_WEBHOOK_URL=slack.url, DB_PASSWORD="s3cret")
    slack.answer = 500
    text = "login with s3cret: Duplicate entry 'ada@example.com' for key"
    report(alerts, replace(FAILED, title="s3cret failed", text=text))

    for there in (alerts.shelf.book.read_text(), slack.got[0][1]):
        assert "s3cret" not in there
        assert "ada@" not in there
    assert alerts.shelf.book.stat().st_mode & 0o077 == 0


class Mailbox:
    """A mail server that knows one login. ``answer`` is what it says to a mail."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.recipients: list[list[str]] = []
        self.answer = "250 OK"
        self.unwanted = ""
        self.unknown = ""

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's own name, and its arguments)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: object
    ) -> str:
        if address == self.unknown:
            return "550 s3cret: nobody here is called so"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 (aiosmtpd's own name)
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=default)
        if self.unwanted and self.unwanted in mail["Subject"]:
            return "554 s3cret: looks like spam"
        if self.answer == "250 OK":
            self.mails.append(mail)
            self.recipients.append(list(envelope.rcpt_tos))
        return self.answer


def _login(
    _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object
) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=data == LoginPassword(b"backup", b"s3cret"), handled=False)


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    controller = Controller(
        box, hostname="127.0.0.1", port=free_port(), authenticator=_login,
        auth_required=True, auth_require_tls=False,
    )  # fmt: skip
    controller.start()
    try:
        yield box, controller.port
    finally:
        controller.stop()


def mail_alerts(folder: Path, port: int, **settings: str) -> notify.Alerts:
    return alerts_for(
        folder,
        **{
            "BACKUP_ALERT_MAIL_TO": "ops@example.com,boss@example.com",
            "BACKUP_ALERT_MAIL_FROM": "backup@example.com", "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(port), "SMTP_USER": "backup", "SMTP_PASSWORD": "s3cret", **settings,
        },
    )  # fmt: skip


def test_a_mail_arrives(tmp_path: Path, mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    incident = replace(FAILED, title="backup of größe failed\nBcc: x@y.z", text="What: über")

    assert report(mail_alerts(tmp_path, port), incident) == notify.Sent(sent=1)

    (mail,) = box.mails
    assert mail["Subject"] == "ulasis-backup: backup of größe failed Bcc: x@y.z"
    assert mail["To"] == "ops@example.com, boss@example.com"
    assert mail["From"] == "backup@example.com"
    assert mail.get_payload(decode=True) == "What: über\r\n".encode()


def test_a_refused_address_among_several_is_named_and_the_others_get_one_mail(
    tmp_path: Path, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    box.unknown = "boss@example.com"
    alerts = mail_alerts(tmp_path, port)
    label = "mail to ops@example.com,boss@example.com"
    refused = "the mail server refused boss@example.com (SMTP 550)"

    sent = report(alerts, FAILED)
    notify.flush(alerts, now=NOW + timedelta(hours=1), at_once=True)
    ((_, tried),) = notify.test(alerts, now=NOW, where="here")

    assert sent == notify.Sent(sent=1, remarks=(f"{label}: {refused}",))
    assert box.recipients == [["ops@example.com"]] * 2
    assert tried == refused


def test_a_mail_that_is_refused_for_good_blocks_no_other(
    tmp_path: Path, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    box.unwanted = "backup of"
    alerts = mail_alerts(tmp_path, port)
    report(alerts, FAILED)
    other = replace(FAILED, key="prune", title="prune failed")
    sent = notify.report(alerts, [other], checked=("prune",), now=NOW)

    assert [mail["Subject"] for mail in box.mails] == ["ulasis-backup: prune failed"]
    assert sent.problems == ("mail to ops@example.com,boss@example.com: SMTP 554",)


def test_a_mail_that_may_be_taken_later_is_tried_again_and_arrives_once(
    tmp_path: Path, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    box.answer = "451 s3cret: come back later"
    alerts = mail_alerts(tmp_path, port)
    refused = report(alerts, FAILED)
    box.answer = "250 OK"
    later = [notify.flush(alerts, now=NOW + timedelta(minutes=n)) for n in (1, 2, 60)]

    assert refused.problems == ("mail to ops@example.com,boss@example.com: SMTP 451",)
    assert later == [notify.Sent(sent=1), notify.Sent(), notify.Sent()]
    assert len(box.mails) == 1


def test_a_refused_login_is_said_without_the_password(
    tmp_path: Path, mailbox: tuple[Mailbox, int]
) -> None:
    _, port = mailbox
    sent = report(mail_alerts(tmp_path, port, SMTP_PASSWORD="wr0ng"), FAILED)

    label = "mail to ops@example.com,boss@example.com"
    assert sent.problems == (f"{label}: the login is refused",)


def test_a_mail_server_that_nobody_vouches_for_gets_no_login(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    box = Mailbox()
    controller = Controller(
        box, hostname="127.0.0.1", port=free_port(), tls_context=context, authenticator=_login
    )
    controller.start()
    try:
        sent = report(mail_alerts(tmp_path, controller.port, SMTP_TLS="starttls"), FAILED)
    finally:
        controller.stop()

    assert "the server's certificate is not trusted" in sent.problems[0]
    assert box.mails == []


def test_errors_and_silence_on_every_channel_end_with_one_message_each_and_no_secret(
    tmp_path: Path, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    with receiver(answer=500) as slack, receiver(answer=0) as other:
        settings = {
            "SLACK_WEBHOOK_URL": f"{slack.url}/TOKEN", "DB_PASSWORD": "hush-hush",
            "BACKUP_ALERT_URLS": f"{other.url.replace('http', 'json')}/TOKEN",
        }  # fmt: skip
        incident = replace(FAILED, text="no login with s3cret, nor with hush-hush, at TOKEN")
        with silent_port() as silent:
            first = report(mail_alerts(tmp_path, silent, **settings), incident, seconds=3)
        slack.answer = other.answer = 200
        other.closing.set()
        alerts = mail_alerts(tmp_path, port, **settings)
        wait_until(lambda: notify.flush(alerts, now=NOW, at_once=True).sent)
        nothing_left = notify.flush(alerts, now=NOW + timedelta(hours=1))

        assert first.problems == (
            "alert address 1 (json): no answer in 3 s",
            "mail to ops@example.com,boss@example.com: no answer in 3 s", "slack: HTTP 500",
        )  # fmt: skip
        assert nothing_left == notify.Sent()
        assert (len(slack.accepted), len(other.accepted), len(box.mails)) == (1, 1, 1)
        for told in (*slack.bodies(), *other.bodies(), str(box.mails[0])):
            assert "hush-hush" not in told
            assert "s3cret" not in told
            assert slack.url not in told


@contextmanager
def silent_port() -> Iterator[int]:
    """Yield a port where every connection is taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def self_signed(folder: Path) -> Path:
    """Write a key and a certificate for it, signed by itself."""
    path = folder / "server.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", folder / "certificate.pem",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + (folder / "certificate.pem").read_text())
    return path


def test_no_mail_goes_in_clear_where_tls_was_asked_for(
    tmp_path: Path, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    sent = report(mail_alerts(tmp_path, port, SMTP_TLS="starttls"), FAILED)

    assert sent.waiting == 1
    assert "offers no TLS" in sent.problems[0]
    assert box.mails == []
