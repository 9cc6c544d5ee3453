"""`eggycore config reload` and `show --running`: asks a running process at its health port."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from eggycore.cli.config_tables import failure_lines, outcome_lines
from eggycore.cli.options import RuntimeOptions, runtime_options
from eggycore.config import Secret
from eggycore.diagnostics import Diagnosis, capitalized, diagnose
from eggycore.errors import UsageError

if TYPE_CHECKING:
    import http.client

__all__ = ["NoHealthPort", "NobodyAnswers", "NotEggycore", "NotLetIn", "reload", "running_status"]

TIMEOUT = 10.0
"""Seconds that an answer may take."""

RELOAD_TIMEOUT = 120.0
"""Seconds that the answer to a reload may take: it comes when every plugin has taken the change over."""

_LONGEST = 16_777_216
_ANY_HOST = ("", "0.0.0.0", "::")  # noqa: S104 -- compared with, not bound


@dataclass(eq=False)
class NoHealthPort(UsageError):
    """Nobody knows where to ask the process: it has no health port, or takes any that is free."""

    reason: str


@dataclass(eq=False)
class NobodyAnswers(UsageError):
    """The process could not be asked: nothing listens there, or no answer came.

    Args:
        url: Where it was asked.
        reason: What went wrong.
        waited: Seconds for which an answer was waited for in vain; 0 when there was nobody to wait for.
    """

    url: str
    reason: str
    waited: float = 0


@dataclass(eq=False)
class NotLetIn(UsageError):
    """The process does not show its configuration, or does not reload it, for whoever asks like this.

    Args:
        url: Where it was asked.
        has_token: Whether it has a management token at all.
        sent: Whether a token was sent.
    """

    url: str
    has_token: bool
    sent: bool


@dataclass(eq=False)
class NotEggycore(UsageError):
    """Something answers, but not like a process of eggycore that shows its configuration."""

    url: str
    answer: str


@diagnose.register
def _(error: NoHealthPort) -> Diagnosis:
    return Diagnosis(
        description="The process cannot be asked: nobody knows at which port.",
        cause=f"{error.reason}.",
        action="Give the URL of its health port, as in http://127.0.0.1:8081.",
    )


@diagnose.register
def _(error: NobodyAnswers) -> Diagnosis:
    if error.waited:
        return Diagnosis(
            description=f"The process at {error.url} has not answered within {error.waited:g} s.",
            cause="It is busy with what it was asked for, hangs, or cannot be reached.",
            action="Look at its log: what it was asked for may still happen. kill -USR1 PID makes it log its stacks.",
        )
    return Diagnosis(
        description=f"Nobody answers at {error.url}.",
        cause=f"{capitalized(error.reason)}.",
        action="Start the process, or give the URL of its health port (HEALTH_CHECK_PORT).",
    )


@diagnose.register
def _(error: NotLetIn) -> Diagnosis:
    if not error.has_token:
        cause = "It has no management token, so it lets nobody in."
        action = "Set MANAGEMENT_TOKEN for it, and restart it."
    elif error.sent:
        cause = "MANAGEMENT_TOKEN, as it is set here, is not its management token."
        action = "Set MANAGEMENT_TOKEN, or MANAGEMENT_TOKEN_FILE, to that of the process."
    else:
        cause = "It asks for its management token, and MANAGEMENT_TOKEN is not set here."
        action = "Set MANAGEMENT_TOKEN, or MANAGEMENT_TOKEN_FILE, to that of the process."
    return Diagnosis(description=f"The process at {error.url} does not let you in.", cause=cause, action=action)


@diagnose.register
def _(error: NotEggycore) -> Diagnosis:
    return Diagnosis(
        description=f"What answers at {error.url} does not show a configuration.",
        cause=f"It answered {error.answer}.",
        action="Give the URL of the health port (HEALTH_CHECK_PORT) of a process of this version of eggycore.",
    )


@click.command(
    short_help="Have a running process read its configuration again.", epilog="Example: eggycore config reload"
)
@click.argument("url", required=False)
@runtime_options
def reload(options: RuntimeOptions, url: str | None) -> None:
    """Have a running process read its configuration again, and tell what came of it.

    URL is that of its health port, by default HEALTH_CHECK_PORT of this machine; it is shown MANAGEMENT_TOKEN, as it
    is set here. Exit code 0 when the configuration was taken over or has not changed, 1 when it was refused or
    undone, 2 when the process cannot be asked.
    """
    process = _Process.meant(options, url or "")
    answer = process.ask("POST", "/config/reload", RELOAD_TIMEOUT)
    if "outcome" not in answer.body:
        raise process.refusal(answer)
    for line in outcome_lines(answer.body):
        click.echo(line)
    if answer.status == 409:
        for line in failure_lines({"reason": answer.body.get("detail", ""), **answer.body}):
            click.echo(line)
        raise SystemExit(1)


def running_status(options: RuntimeOptions, url: str) -> tuple[Mapping[str, Any], str]:
    """What a running process tells of its configuration, and where it was asked.

    Args:
        options: How the app is configured here: its health port, its management token.
        url: Where to ask; "" for the health port of this machine.

    Raises:
        NoHealthPort, NobodyAnswers, NotLetIn, NotEggycore: It does not tell.
    """
    process = _Process.meant(options, url)
    answer = process.ask("GET", "/config", TIMEOUT)
    if answer.status != 200 or "entries" not in answer.body:
        raise process.refusal(answer)
    return answer.body, process.url


@dataclass(frozen=True)
class _Answer:
    status: int
    reason: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class _Process:
    """A running process: the URL of its health port, and what opens it."""

    url: str
    token: Secret[str] | None

    @classmethod
    def meant(cls, options: RuntimeOptions, url: str) -> _Process:
        """The one at this URL, or at the health port as configured here, be the rest of the configuration wrong."""
        configuration, _ = options.runtime().examine()
        values = {key: value.value for key, value in configuration.values.items()}
        token = values.get("MANAGEMENT_TOKEN")
        if not url:
            url = _url(values)
        elif not _is_url(url):
            raise click.BadParameter("takes a URL like http://127.0.0.1:8081.", param_hint="URL")
        return cls(url.rstrip("/"), token if isinstance(token, Secret) else None)

    def ask(self, method: str, path: str, timeout: float) -> _Answer:
        """Send a request; redirections are not followed, so that the token goes nowhere else."""
        import http.client

        connection = self._connection(timeout)
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token.reveal()}"
        try:
            connection.request(method, f"{urlsplit(self.url).path}{path}", headers=headers)
            with connection.getresponse() as response:
                return _Answer(response.status, response.reason, _json(response.read(_LONGEST)))
        except http.client.HTTPException:
            raise NotEggycore(self.url, "something that is not HTTP") from None
        except TimeoutError:
            raise NobodyAnswers(self.url, "no answer came", waited=timeout) from None
        except (OSError, ValueError) as error:
            raise NobodyAnswers(self.url, _why(error)) from None
        finally:
            connection.close()

    def refusal(self, answer: _Answer) -> UsageError:
        """What an answer means that does not hold what was asked for."""
        if answer.status in (401, 403) and "title" in answer.body:
            return NotLetIn(self.url, has_token=answer.status == 401, sent=bool(self.token))
        if answer.status == 503:
            return NobodyAnswers(self.url, "it answered 503, as a process does that is stopping")
        return NotEggycore(self.url, f"{answer.status} {answer.reason}".rstrip())

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        import http.client

        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=timeout)


def _url(values: Mapping[str, object]) -> str:
    port, host = values.get("HEALTH_CHECK_PORT"), str(values.get("BIND_HOST", ""))
    if values.get("ENABLE_HEALTH_CHECK") is not True:
        raise NoHealthPort("ENABLE_HEALTH_CHECK is not true here, so there is no health port")
    if not port:
        raise NoHealthPort("HEALTH_CHECK_PORT is 0 or wrong here")
    host = "127.0.0.1" if host in _ANY_HOST else f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.query
    except ValueError:
        return False


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _why(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
