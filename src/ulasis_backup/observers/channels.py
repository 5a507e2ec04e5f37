"""Channels: where alerts go. Each sends one message once, or says in a few words why not.

What was sent, but not to all whom the channel stands for, comes with a remark.

An address holds a token, so a channel is only ever called by its label, and a reason never
quotes what a library said.
"""

from __future__ import annotations

import hashlib
import json
import re
import smtplib
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from logging import Handler, LogRecord, NullHandler, getLogger

from pydantic import SecretStr

from ulasis_backup.config import LOCAL_HOSTS
from ulasis_backup.observers.incidents import Message, Severity
from ulasis_backup.settings import Settings

STEP_SECONDS = 10.0
"""The longest that one step of a connection may take."""
PREFIX = "ulasis-backup"
SLACK_SIGNS = {Severity.INFO: "✅", Severity.WARNING: "⚠️", Severity.FAILURE: "🔴"}
MAY_PASS = (408, 429)
"""Answers of HTTP between 400 and 499 after which the same may be accepted later."""
FIRST_PERMANENT = 500
"""From here on an answer of SMTP is for good."""
DEFAULT_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_BETWEEN_URLS = re.compile(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_STATUS = re.compile(r"error=(\d{3})")


class NotSent(Exception):
    """A message was not accepted; the text says why, without any address or token."""


class NotWanted(NotSent):
    """It was refused for good: the same message will not be accepted later either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Somewhere messages go. ``id`` tells channels apart and reveals nothing."""

    id: str
    label: str
    send: Callable[[Message], str]
    """Sends, and returns a remark, "" for none. Raises NotSent."""


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """Return the channels that *settings* name: Slack, mail, and the addresses of apprise."""
    found: list[Channel] = []
    if settings.slack_webhook_url:
        url = settings.slack_webhook_url.get_secret_value()
        found.append(
            Channel(id=_identity(url), label="slack", send=lambda message: _to_slack(url, message))
        )
    if settings.backup_alert_mail_to:
        to = settings.backup_alert_mail_to
        found.append(
            Channel(
                id=_identity(f"mail {to}"),
                label=f"mail to {to}",
                send=lambda message: _to_mail(settings, message),
            )
        )
    urls = addresses(settings.backup_alert_urls)
    return (*found, *(_apprise_channel(url, number) for number, url in enumerate(urls, 1)))


def addresses(urls: SecretStr | None) -> tuple[str, ...]:
    """Return the single addresses of BACKUP_ALERT_URLS: parted by commas, spaces or lines."""
    text = urls.get_secret_value() if urls else ""
    return tuple(url.strip(" ,\n") for url in _BETWEEN_URLS.split(text) if url.strip(" ,\n"))


def subject(message: Message) -> str:
    """Return the first line of *message* as people see it."""
    return f"{PREFIX}: {message.title}"


def post(url: str, body: bytes, *, content: str) -> None:
    """POST *body* of the type *content* to *url*; raises NotSent for any answer but a 2xx."""
    if not url.lower().startswith(("http://", "https://")):
        raise NotSent("the address is not one of http or https")
    try:
        request = urllib.request.Request(  # noqa: S310 (http and https alone, see above)
            url, data=body, method="POST",
            headers={"Content-Type": content, "User-Agent": PREFIX},
        )  # fmt: skip
        with urllib.request.build_opener(_Straight).open(request, timeout=STEP_SECONDS):
            return
    except Exception as error:  # noqa: BLE001 (whatever it says may hold the address)
        raise _failure(error) from None


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows nowhere: the POST would arrive as a GET without its text, and count as sent."""

    def redirect_request(self, *_: object) -> None:
        return None


def _to_slack(url: str, message: Message) -> str:
    sign = SLACK_SIGNS[message.severity]
    text = f"{sign} *{_for_slack(subject(message))}*\n{_for_slack(message.text)}"
    post(url, json.dumps({"text": text}).encode(), content="application/json")
    return ""


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _to_mail(settings: Settings, message: Message) -> str:
    mail = _mail(settings, message)
    try:
        with _mail_server(settings) as server:
            if settings.smtp_user:
                password = settings.smtp_password
                server.login(settings.smtp_user, password.get_secret_value() if password else "")
            refused = server.send_message(mail)
    except Exception as error:  # noqa: BLE001 (a server's words may quote the login)
        raise _failure(error) from None
    # The others have it: sent again it would come to them twice.
    some = (f"{address} (SMTP {code})" for address, (code, _) in sorted(refused.items()))
    return f"the mail server refused {', '.join(some)}" if refused else ""


def _mail_server(settings: Settings) -> smtplib.SMTP:
    host, here = settings.smtp_host, socket.gethostname()
    tls = settings.smtp_tls or ("none" if host in LOCAL_HOSTS else "starttls")
    port = settings.smtp_port or DEFAULT_PORTS[tls]
    context = ssl.create_default_context()
    if tls == "tls":
        return smtplib.SMTP_SSL(host, port, here, timeout=STEP_SECONDS, context=context)
    server = smtplib.SMTP(host, port, here, timeout=STEP_SECONDS)
    if tls == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _mail(settings: Settings, message: Message) -> EmailMessage:
    mail = EmailMessage()
    # A header is one line.
    mail["Subject"] = " ".join(subject(message).split())
    mail["From"] = settings.backup_alert_mail_from or f"{PREFIX}@{socket.gethostname()}"
    mail["To"] = settings.backup_alert_mail_to
    mail["Date"] = formatdate()
    # The same for every try, so that a mail that came twice can be seen to be one.
    mail["Message-ID"] = f"<{message.id}@{PREFIX}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    return mail


def _apprise_channel(url: str, number: int) -> Channel:
    # The rest of an address may be a token from the first letter on.
    scheme = url.partition("://")[0].lower() if "://" in url else "no address"
    return Channel(
        id=_identity(url),
        label=f"alert address {number} ({scheme})",
        send=lambda message: _to_apprise(url, message),
    )


def _to_apprise(url: str, message: Message) -> str:
    import apprise  # noqa: PLC0415 (slow, and needed only when there is something to tell)

    kinds = {
        Severity.INFO: apprise.NotifyType.INFO,
        Severity.WARNING: apprise.NotifyType.WARNING,
        Severity.FAILURE: apprise.NotifyType.FAILURE,
    }
    logger = getLogger("apprise")
    heard = _Statuses()
    # Its log lines quote addresses: they go nowhere.
    logger.propagate = False
    logger.addHandler(NullHandler())
    logger.addHandler(heard)
    try:
        target = apprise.Apprise()
        understood = target.add(url)
        sent = understood and target.notify(
            title=subject(message), body=message.text, notify_type=kinds[message.severity]
        )
    except Exception as error:  # noqa: BLE001 (whatever it says may hold the address)
        raise NotSent(_why(error)) from None
    finally:
        logger.removeHandler(heard)
    if not understood:
        raise NotSent("apprise does not understand the address")
    if not sent and heard.status:
        raise _answered(int(heard.status))
    if not sent:
        raise NotSent("not accepted")
    return ""


class _Statuses(Handler):
    """Hears the HTTP status in the lines that apprise logs in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.status = ""
        self._thread = threading.get_ident()

    def emit(self, record: LogRecord) -> None:
        match = _STATUS.search(record.getMessage())
        if match and threading.get_ident() == self._thread:
            self.status = match[1]


def _failure(error: Exception) -> NotSent:
    """Return *error* as one of ours."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return _answered(error.code)
    # A sender is refused with 552 for the size of what would follow.
    about_the_message = smtplib.SMTPDataError | smtplib.SMTPSenderRefused
    final = isinstance(error, about_the_message) and error.smtp_code >= FIRST_PERMANENT
    return (NotWanted if final else NotSent)(_why(error))


def _answered(status: int) -> NotSent:
    """Return what *status* of HTTP, none of success, means for a message."""
    final = status in range(400, 500) and status not in MAY_PASS
    return (NotWanted if final else NotSent)(f"HTTP {status}")


def _why(error: Exception) -> str:
    """Return in a few words what kind of failure *error* is; its text may hold a secret."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        return _why(error.reason)
    if isinstance(error, smtplib.SMTPResponseException):
        refused = isinstance(error, smtplib.SMTPAuthenticationError)
        return "the login is refused" if refused else f"SMTP {error.smtp_code}"
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "no answer in time"),
    (ssl.SSLCertVerificationError, "the server's certificate is not trusted"),
    (smtplib.SMTPNotSupportedError, "the mail server offers no TLS, or no login"),
    (socket.gaierror, "the host's name is not known"),
)


def _identity(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
