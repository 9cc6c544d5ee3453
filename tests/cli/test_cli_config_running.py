"""`eggycore config reload` and `show --running`: what a running process answers, and what is said when none does."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import Result

from eggycore import Change, ConfigRefused, Secret, Settings, env, hookimpl
from eggycore.testing import Running, running

Run = Callable[..., Result]
TOKEN = "kept-from-everybody"
LEVELS = "Set it to one of debug, info, warn, error, fatal."


class Greeting(Settings):
    words: str = env("GREETING", default="hello", reload=True, doc="What to say.")
    voice: str = env("GREETING_VOICE", default="soft", doc="How to say it.")
    password: Secret[str] = env("GREETING_PASSWORD", default="", allow_empty=True, reload=True, doc="Who may.")


class Greeter:
    """Refuses to be rude, and stumbles over long words."""

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return Greeting

    @hookimpl
    def check_config(self, change: Change) -> None:
        if change.new[Greeting].words == "ugh":
            raise ConfigRefused("GREETING is rude")

    @hookimpl
    def config_changed(self, change: Change) -> None:
        if len(change.new[Greeting].words) > 20:
            raise ValueError(f"stumbled with {change.new[Greeting].password.reveal()}")


@asynccontextmanager
async def process(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> AsyncIterator[Running]:
    """A process whose management token is known here, and the port of which is HEALTH_CHECK_PORT here."""
    in_a_pod = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "SHUTDOWN_DRAIN_DELAY": "0s",
    }  # the loopback is not trusted there
    settings = {"CONFIG_WATCH": "false", "MANAGEMENT_TOKEN": TOKEN} | in_a_pod | settings
    async with running(Greeter(), settings=settings, folder=folder) as service:
        monkeypatch.setenv("HEALTH_CHECK_PORT", str(service.runtime.addresses["HEALTH_CHECK_PORT"][1]))
        monkeypatch.setenv("BIND_HOST", "127.0.0.1")
        monkeypatch.setenv("MANAGEMENT_TOKEN", TOKEN)
        yield service


@pytest.fixture
def call(run: Run) -> Callable[..., Awaitable[Result]]:
    """Runs the command in a thread, so that the process of this test can answer it."""

    async def call(*arguments: str) -> Result:
        result = await asyncio.to_thread(run, *arguments)
        assert TOKEN not in result.output
        return result

    return call


Call = Callable[..., Awaitable[Result]]


def url_of(service: Running) -> str:
    return f"http://127.0.0.1:{service.runtime.addresses['HEALTH_CHECK_PORT'][1]}"


async def test_a_reload_tells_what_was_taken_over_and_what_waits(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(folder, monkeypatch) as service:
        (folder / ".env").write_text("GREETING=good day\nGREETING_VOICE=loud\n")
        result = await call("config", "reload")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == (
            "applied: generation 2 is in force\n  changed: GREETING\n  waits for a restart: GREETING_VOICE\n"
        )
        assert service.runtime.config[Greeting].words == "good day"
        result = await call("config", "reload", url_of(service))
        assert (result.exit_code, result.stdout) == (
            0,
            "unchanged: generation 2 is in force\n  waits for a restart: GREETING_VOICE\n",
        )


async def test_a_reload_that_is_refused_tells_every_problem(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(folder, monkeypatch):
        (folder / ".env").write_text("LOG_LEVEL=loud\nSHUTDOWN_TIMEOUT=0s\n")
        result = await call("config", "reload")
    assert result.exit_code == 1
    assert result.stdout == (
        "refused: generation 1 is in force\n"
        "  reason: The configuration has 2 problems.\n"
        f"    LOG_LEVEL 'loud': not one of the choices (.env line 1). {LEVELS}\n"
        "    SHUTDOWN_TIMEOUT '0s': less than 100ms (.env line 2)."
        " Set it to a duration such as 250ms, 5s or 5m, of at least 100ms.\n"
    )


@pytest.mark.parametrize(("words", "seconds"), [(["show", "--running"], "0.05"), (["reload"], "0.1")])
def test_a_process_that_does_not_answer_is_waited_for_so_long_and_not_taken_for_gone(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], seconds: str
) -> None:
    monkeypatch.setattr("eggycore.cli.config_running.TIMEOUT", 0.05)
    monkeypatch.setattr("eggycore.cli.config_running.RELOAD_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = run("config", *words, url)
    assert result.exit_code == 2
    assert result.stderr == (
        f"eggycore: The process at {url} has not answered within {seconds} s.\n"
        "  cause:  It is busy with what it was asked for, hangs, or cannot be reached.\n"
        "  action: Look at its log: what it was asked for may still happen. kill -USR1 PID makes it log its stacks.\n"
    )


async def test_a_reload_that_the_app_refuses_names_it(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(folder, monkeypatch) as service:
        (folder / ".env").write_text("GREETING=ugh\n")
        result = await call("config", "reload")
        assert service.runtime.config[Greeting].words == "hello"
    assert result.exit_code == 1
    assert result.stdout == (
        "refused: generation 1 is in force\n"
        "  differs: GREETING\n"
        "  by: app Greeter\n"
        "  reason: The new configuration was refused, and the old one stays.\n"
        "  cause: GREETING is rude.\n"
        "  action: Take the change back, or restart with it.\n"
    )


async def test_a_reload_that_is_undone_tells_no_text_of_an_exception(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(folder, monkeypatch) as service:
        (folder / ".env").write_text(
            f"GREETING=Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch\nGREETING_PASSWORD={TOKEN}\n"
        )
        result = await call("config", "reload")
        assert service.runtime.config[Greeting].words == "hello"
    assert result.exit_code == 1
    assert result.stdout == (
        "undone: generation 1 is in force\n"
        "  differs: GREETING\n"
        "  differs: GREETING_PASSWORD\n"
        "  by: app Greeter\n"
        "  reason: App Greeter failed in config_changed.\n"
        "  cause: ValueError was raised.\n"
        "  action: The log of the process says more.\n"
    )


async def test_show_tells_what_is_in_force_there_and_not_what_is_written_here(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(folder, monkeypatch) as service:
        first = (await call("config", "show", "--running")).stdout
        assert first.startswith(
            f"Generation 1, of the process at {url_of(service)}: as read at its start.\n\neggycore\n"
        )
        (folder / ".env").write_text("GREETING=good day\nGREETING_VOICE=loud\n")
        assert "good day" not in (await call("config", "show", "--running")).stdout
        await service.runtime.reload(by="a test")
        await service.runtime.reload(by="the same test")
        again = (await call("config", "show", "--running")).stdout.splitlines()[0]
        (folder / ".env").write_text("LOG_LEVEL=loud\n")
        await service.runtime.reload(by="another test")
        shown = (await call("config", "show", "--running", url_of(service))).stdout
        status = json.loads((await call("config", "show", "--running", "--json")).stdout)
    headline, *_ = shown.splitlines()
    assert re.fullmatch(
        rf"Generation 2, of the process at {url_of(service)}: "
        r"the last reload was refused at 20\d\d-\S+\+00:00, asked for by another test\.",
        headline,
    )
    assert re.search(r": the last reload changed nothing at \S+, asked for by the same test\.$", again)
    assert re.search(r"^GREETING +good day +\.env line 1$", shown, flags=re.MULTILINE)
    assert re.search(
        r"^GREETING_VOICE +soft \(another value waits for a restart\) +default$", shown, flags=re.MULTILINE
    )
    assert shown.endswith(
        "The last reload was refused:\n"
        "  reason: The configuration has 1 problem.\n"
        f"    LOG_LEVEL 'loud': not one of the choices (.env line 1). {LEVELS}\n"
    )
    assert (status["generation"], status["running"], status["pending"]) == (2, True, ["GREETING_VOICE"])
    assert status["last_reload"]["error"]["problems"][0]["key"] == "LOG_LEVEL"
    assert {entry["key"]: entry["pending"] for entry in status["entries"] if "GREETING" in entry["key"]} == {
        "GREETING": False,
        "GREETING_VOICE": True,
        "GREETING_PASSWORD": False,
    }


async def test_a_process_can_be_asked_while_the_configuration_here_is_wrong(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(folder, monkeypatch):
        monkeypatch.setenv("LOG_LEVEL", "loud")
        assert (await call("config", "show", "--running")).exit_code == 0
        assert (await call("config", "reload")).exit_code == 0


async def test_without_the_right_token_nobody_is_let_in(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(folder, monkeypatch) as service:
        url = url_of(service)
        monkeypatch.setenv("MANAGEMENT_TOKEN", "guessed")
        for command in (("reload",), ("show", "--running")):
            result = await call("config", *command)
            assert (result.exit_code, result.stdout) == (2, "")
            assert result.stderr == (
                f"eggycore: The process at {url} does not let you in.\n"
                "  cause:  MANAGEMENT_TOKEN, as it is set here, is not its management token.\n"
                "  action: Set MANAGEMENT_TOKEN, or MANAGEMENT_TOKEN_FILE, to that of the process.\n"
            )
        monkeypatch.delenv("MANAGEMENT_TOKEN")
        result = await call("config", "reload")
        assert (result.exit_code, result.stderr) == (
            2,
            f"eggycore: The process at {url} does not let you in.\n"
            "  cause:  It asks for its management token, and MANAGEMENT_TOKEN is not set here.\n"
            "  action: Set MANAGEMENT_TOKEN, or MANAGEMENT_TOKEN_FILE, to that of the process.\n",
        )


async def test_a_process_without_a_token_lets_nobody_in(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(folder, monkeypatch, MANAGEMENT_TOKEN="") as service:
        result = await call("config", "reload")
        assert (result.exit_code, result.stderr) == (
            2,
            f"eggycore: The process at {url_of(service)} does not let you in.\n"
            "  cause:  It has no management token, so it lets nobody in.\n"
            "  action: Set MANAGEMENT_TOKEN for it, and restart it.\n",
        )


def test_where_nothing_listens_nobody_answers(run: Run) -> None:
    with listening(b"") as url:
        pass
    result = run("config", "reload", url)
    assert (result.exit_code, result.stderr) == (
        2,
        f"eggycore: Nobody answers at {url}.\n"
        "  cause:  Connection refused.\n"
        "  action: Start the process, or give the URL of its health port (HEALTH_CHECK_PORT).\n",
    )


def test_a_process_that_is_stopping_is_told(run: Run) -> None:
    with listening(b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 20\r\n\r\n{"title":"Stopping"}') as url:
        result = run("config", "reload", url)
    assert (result.exit_code, result.stderr) == (
        2,
        f"eggycore: Nobody answers at {url}.\n"
        "  cause:  It answered 503, as a process does that is stopping.\n"
        "  action: Start the process, or give the URL of its health port (HEALTH_CHECK_PORT).\n",
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "404 Not Found"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 OK"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "401 Unauthorized"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "302 Found"),
        (b"220 mail.example ESMTP\r\n", "something that is not HTTP"),
        (b"", "something that is not HTTP"),
    ],
)
@pytest.mark.parametrize("command", [("reload",), ("show", "--running")])
def test_what_is_no_process_of_eggycore_is_told(run: Run, command: tuple[str, ...], answer: bytes, told: str) -> None:
    with listening(answer) as url:
        result = run("config", *command, url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"eggycore: What answers at {url} does not show a configuration.\n"
        f"  cause:  It answered {told}.\n"
        "  action: Give the URL of the health port (HEALTH_CHECK_PORT) of a process of this version of eggycore.\n"
    )


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"HEALTH_CHECK_PORT": "0"}, "HEALTH_CHECK_PORT is 0 or wrong here."),
        ({"HEALTH_CHECK_PORT": "eighty"}, "HEALTH_CHECK_PORT is 0 or wrong here."),
        ({"ENABLE_HEALTH_CHECK": "false"}, "ENABLE_HEALTH_CHECK is not true here, so there is no health port."),
    ],
)
def test_a_process_whose_port_nobody_knows_has_to_be_named(
    run: Run, settings: dict[str, str], cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    result = run("config", "reload")
    assert (result.exit_code, result.stderr) == (
        2,
        "eggycore: The process cannot be asked: nobody knows at which port.\n"
        f"  cause:  {cause}\n"
        "  action: Give the URL of its health port, as in http://127.0.0.1:8081.\n",
    )


@pytest.mark.parametrize(
    "url", ["localhost:8081", "ftp://localhost", "http://", "http://[::1", "http://h:99999", "8081"]
)
def test_what_is_no_url_is_a_usage_error(run: Run, url: str) -> None:
    result = run("config", "reload", url)
    assert result.exit_code == 2
    assert result.stderr.endswith("Error: Invalid value for URL: takes a URL like http://127.0.0.1:8081.\n")


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """The URL of a server that reads a request and gives this answer to it, whatever it is."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)
            self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
