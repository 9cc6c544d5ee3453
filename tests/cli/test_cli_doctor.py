"""`eggycore doctor`: one row for each finding, and a bundle without secrets."""

from __future__ import annotations

import json
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from eggycore.server.holder import Holder
from eggycore.server.ports import PortTaken

Run = Callable[..., Result]
SECRET = "kept-from-everybody"


@pytest.fixture(autouse=True)
def no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_HEALTH_CHECK", "false")


def rows(result: Result) -> dict[str, tuple[str, str]]:
    return {row["subject"]: (row["state"], row["text"]) for row in json.loads(result.stdout)}


def test_everything_is_looked_at_once(run: Run) -> None:
    result = run("doctor", "--json")
    found = rows(result)
    assert result.exit_code == 0
    assert list(found) == [
        "eggycore",
        "python",
        "platform",
        "app eggyapp_greeting",
        "configuration",
        "log",
        "port BUSINESS_HTTP_PORT",
        "port BUSINESS_GRPC_PORT",
        "plan",
        "open words",
        "check greeting",
    ]
    assert {state for state, _ in found.values()} == {"ok"}


def test_a_plugin_that_is_broken_is_red_and_what_depends_on_it_is_skipped(
    run: Run, fake: Callable[[str], None]
) -> None:
    fake("import-error")
    result = run("doctor", "--plugins", "importerror")
    assert result.exit_code == 1
    assert "RED      plugins" in result.stdout
    assert "-> Repair or upgrade eggycore-importerror, or start without it: -x importerror\n" in result.stdout
    assert result.stdout.endswith("skipped  opening               What comes before it is red.\n")


def test_an_optional_plugin_that_is_broken_is_a_warning(
    run: Run, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("import-error")
    monkeypatch.setenv("EGGYCORE_OPTIONAL_PLUGINS", "importerror")
    result = run("doctor", "--plugins", "importerror", "--json")
    assert result.exit_code == 0
    assert rows(result)["plugin importerror"][0] == "warning"


def test_problems_of_the_configuration_are_red(run: Run) -> None:
    result = run("doctor", "--json", "--set", "LOG_LEVEL=loud")
    assert result.exit_code == 1
    state, text = rows(result)["configuration"]
    assert state == "red"
    assert text.startswith("LOG_LEVEL 'loud': ")


def test_a_taken_port_is_red_and_names_its_setting(run: Run) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("doctor", "--json", "--set", f"BUSINESS_HTTP_PORT={port}", "--set", "BIND_HOST=0.0.0.0")
    state, text = rows(result)["port BUSINESS_HTTP_PORT"]
    assert (state, result.exit_code) == ("red", 1)
    assert text.startswith(f"Port {port} (BUSINESS_HTTP_PORT) is already in use.")


def test_a_port_held_by_a_running_eggycore_is_a_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(host: str, port: int, setting: str) -> list[socket.socket]:
        raise PortTaken(8080, setting, host, Holder(pid=7, command="python /usr/bin/eggycore run"))

    monkeypatch.setattr("eggycore.cli.examination.bind_port", taken)
    result = run("doctor", "--json")
    assert rows(result)["port BUSINESS_HTTP_PORT"][0] == "warning"
    assert result.exit_code == 0


def test_a_log_file_that_cannot_be_written_is_red(run: Run, folder: Path) -> None:
    result = run("doctor", "--json", "--set", f"LOG_FILE={folder}/pyproject.toml/app.log")
    state, text = rows(result)["log LOG_FILE"]
    assert (state, result.exit_code) == ("red", 1)
    assert f"The log file {folder}/pyproject.toml/app.log cannot be written" in text
    assert rows(run("doctor", "--json", "--set", f"LOG_FILE={folder}/app.log"))["log LOG_FILE"][0] == "ok"


def test_an_initializer_that_cannot_open_is_red(run: Run) -> None:
    result = run("doctor", "--json", "--set", "GREETING_BROKEN=true")
    state, text = rows(result)["opening"]
    assert (state, result.exit_code) == ("red", 1)
    assert "cannot greet" in text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise CheckFailed('nobody listens')", ("red", "failed: nobody listens")),
        ("raise Degraded('a whisper')", ("warning", "degraded: a whisper")),
    ],
)
def test_health_checks_are_run_once(body: str, expected: tuple[str, str], run: Run, folder: Path) -> None:
    (folder / "eggyapp_checked.py").write_text(
        "from eggycore import CheckFailed, HealthCheck, hookimpl\nfrom eggycore.errors import Degraded\n"
        f"def check():\n    {body}\n"
        "@hookimpl\ndef register_health_checks(runtime):\n    return HealthCheck(name='voice', check=check)\n"
    )
    result = run("doctor", "eggyapp_checked", "--json")
    assert rows(result)["check voice"] == expected
    assert result.exit_code == int(expected[0] == "red")


EXAMINED = """
from contextlib import asynccontextmanager

from eggycore import Finding, Initializer, hookimpl


class Pool:
    async def examine(self, *, replicas):
        {body}


@asynccontextmanager
async def open_pool():
    yield Pool()


@hookimpl
def init_infra(runtime):
    return Initializer(name="pool", open=open_pool, provides=Pool)
"""


def test_what_was_opened_is_asked_how_it_is_with_so_many_replicas(run: Run, folder: Path) -> None:
    body = """return [
            Finding(subject=subject, state=state, text=f"{10 * replicas} of 25.", action="Lower it.")
            for subject, state in (("pool size", "ok"), ("server limit", "warning"))
        ]"""
    (folder / "eggyapp_pool.py").write_text(EXAMINED.format(body=body))
    result = run("doctor", "eggyapp_pool", "--replicas", "3")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.endswith(
        "ok       pool size                30 of 25.\n"
        "                                  -> Lower it.\n"
        "warning  server limit             30 of 25.\n"
        "                                  -> Lower it.\n"
    )
    assert rows(run("doctor", "eggyapp_pool", "--json"))["pool size"] == ("ok", "10 of 25.")


def test_a_red_finding_makes_the_command_fail(run: Run, folder: Path) -> None:
    body = 'return [Finding(subject="pool", state="red", text="Full.")]'
    (folder / "eggyapp_pool.py").write_text(EXAMINED.format(body=body))
    result = run("doctor", "eggyapp_pool", "--json")
    assert (rows(result)["pool"], result.exit_code) == (("red", "Full."), 1)


def test_one_that_cannot_say_how_it_is_is_red(run: Run, folder: Path) -> None:
    (folder / "eggyapp_pool.py").write_text(EXAMINED.format(body="raise OSError('postgresql://a:hunter2@b went away')"))
    result = run("doctor", "eggyapp_pool", "--json")
    assert rows(result)["examine pool"] == ("red", "OSError: postgresql://a:***@b went away")
    assert result.exit_code == 1


def test_one_that_does_not_answer_is_red(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eggycore.cli.examination.EXAMINING_TIME", 0.01)
    body = "import asyncio; await asyncio.Event().wait()"
    (folder / "eggyapp_pool.py").write_text(EXAMINED.format(body=body))
    result = run("doctor", "eggyapp_pool", "--json")
    assert rows(result)["examine pool"] == ("red", "It did not answer within 0.01 s.")


def test_fewer_than_one_replica_is_a_usage_error(run: Run) -> None:
    assert run("doctor", "--replicas", "0").exit_code == 2


def test_a_slip_is_shown_beside_what_it_breaks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETNG", "hi")
    found = json.loads(run("doctor", "--json", "--set", "LOG_LEVEL=loud").stdout)
    told = [(row["state"], row["text"]) for row in found if row["subject"] == "configuration"]
    assert [state for state, _ in told] == ["red", "warning"]
    assert told[1][1].startswith("GREETNG, set in the environment, is not a known variable.")


@pytest.mark.parametrize("name", ["doctor.tar.gz", "doctor.zip"])
def test_the_bundle_holds_masked_texts_for_its_owner_only(name: str, run: Run, folder: Path) -> None:
    result = run("doctor", "--bundle", name, "--set", "GREETING_BROKEN=true")
    assert result.exit_code == 1
    bundle = folder / name
    assert bundle.stat().st_mode & 0o777 == 0o600
    if name.endswith(".zip"):
        with zipfile.ZipFile(bundle) as archive:
            texts = {member: archive.read(member).decode() for member in archive.namelist()}
    else:
        with tarfile.open(bundle) as tar:
            texts = {member.name: tar.extractfile(member).read().decode() for member in tar}
    assert sorted(texts) == [
        f"doctor/{member}"
        for member in ("config.txt", "doctor.txt", "plan.json", "plan.txt", "plugins.json", "versions.json")
    ]
    assert "cannot greet with ******" in texts["doctor/doctor.txt"]
    assert not [member for member, text in texts.items() if SECRET in text]


def test_a_bundle_of_another_kind_is_a_usage_error(run: Run, folder: Path) -> None:
    result = run("doctor", "--bundle", "doctor.rar")
    assert result.exit_code == 2
    assert "must end in .tar.gz or .zip." in result.stderr
    assert not (folder / "doctor.rar").exists()


def test_a_bundle_in_a_folder_that_is_not_there_is_a_usage_error_at_once(run: Run, folder: Path) -> None:
    result = run("doctor", "--bundle", f"{folder}/missing/doctor.zip")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for --bundle: there is no folder {folder}/missing." in result.stderr
