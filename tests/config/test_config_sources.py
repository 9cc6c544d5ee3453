"""The layers: which one wins, what a .env file and a mounted secret say, and what is wrong with them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Configuration, Declared, Secret, Settings, Sources, env, load
from eggycore.config.dotenv_file import read_dotenv
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin

APP = Origin("shop", kind="app")


class Shop(Settings):
    name: str = env("SHOP_NAME", default="none", allow_empty=True)
    token: Secret[str] = env("SHOP_TOKEN", default="none")
    level: int = env("SHOP_LEVEL", default=0)


def read(sources: Sources) -> Configuration:
    return load([Declared(Shop, APP)], sources)


def report(sources: Sources) -> str:
    with pytest.raises(ConfigError) as caught:
        read(sources)
    return render(diagnose(caught.value))


def dotenv(folder: Path, content: str | bytes) -> Sources:
    (folder / ".env").write_bytes(content if isinstance(content, bytes) else content.encode())
    return Sources({}, folder)


LAYERS = ("the app's name", ".env", "environment", "--set")


@given(st.dictionaries(st.sampled_from(LAYERS), st.integers(0, 99)))
def test_the_strongest_layer_wins(tmp_path_factory: pytest.TempPathFactory, said: dict[str, int]) -> None:
    folder = tmp_path_factory.mktemp("layers")

    def layer(origin: str) -> dict[str, str]:
        return {"SHOP_LEVEL": str(said[origin])} if origin in said else {}

    (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in layer(".env").items()))
    sources = Sources(layer("environment"), folder, layer("--set"), layer("the app's name"))
    configuration = read(sources)
    spoken = [origin for origin in reversed(LAYERS) if origin in said]
    explanation = configuration.explain("SHOP_LEVEL")
    assert configuration[Shop].level == (said[spoken[0]] if spoken else 0)
    lines = [".env line 1" if origin == ".env" else origin for origin in spoken] + ["default"]
    assert [candidate.origin for candidate in explanation.candidates] == lines
    assert [candidate.chosen for candidate in explanation.candidates] == [True] + [False] * len(spoken)
    assert explanation.entry.origin == lines[0]


def test_the_process_environment_is_never_written(tmp_path: Path) -> None:
    before = dict(os.environ)
    read(dotenv(tmp_path, "SHOP_NAME=a\n"))
    assert dict(os.environ) == before


def test_the_process_environment_is_not_read_behind_the_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHOP_NAME", "from the process")
    assert read(Sources({}, tmp_path))[Shop].name == "none"
    assert read(dotenv(tmp_path, "SHOP_NAME=a"))[Shop].name == "a"


def test_a_dotenv_file_may_have_comments_quotes_and_exports(tmp_path: Path) -> None:
    content = (
        "\ufeff# a comment\r\n\r\nexport SHOP_NAME='it\\'s # here'  # why\r\nSHOP_LEVEL = 7\r\nSHOP_TOKEN=\"a\nb\"\r\n"
    )
    configuration = read(dotenv(tmp_path, content))
    assert configuration[Shop] == Shop(name="it's # here", token=Secret("a\nb"), level=7)
    assert [entry.origin for entry in configuration.entries()] == [".env line 3", ".env line 5", ".env line 4"]


def test_a_dotenv_file_may_refer_to_other_variables_but_not_in_single_quotes(tmp_path: Path) -> None:
    assert read(dotenv(tmp_path, "OTHER=x\nSHOP_NAME=${OTHER}\n"))[Shop].name == "x"
    assert read(dotenv(tmp_path, 'OTHER=x\nSHOP_NAME="${OTHER}"\n'))[Shop].name == "x"
    assert read(dotenv(tmp_path, "OTHER=x\nSHOP_NAME='${OTHER}'\n"))[Shop].name == "${OTHER}"


def test_the_later_line_of_a_dotenv_file_counts(tmp_path: Path) -> None:
    configuration = read(dotenv(tmp_path, "SHOP_NAME=a\nSHOP_NAME=b\n"))
    assert configuration.explain("SHOP_NAME").entry.origin == ".env line 2"
    assert configuration[Shop].name == "b"


def test_a_folder_named_dotenv_is_not_a_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert read(Sources({}, tmp_path))[Shop].name == "none"


def test_every_line_of_a_dotenv_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    content = "# shop\nSHOP_NAME a\n\nSHOP_TOKEN='hunter2\n=5\nSHOP_LEVEL=x\nFOO\n"
    file = tmp_path / ".env"
    assert report(dotenv(tmp_path, content)) == (
        "The configuration has 5 problems.\n"
        "\n"
        f"1. {file}, line 2: no '=' after a name.\n"
        "     action: Write NAME=value, or put a # before a comment.\n"
        "\n"
        f"2. {file}, line 4: the quote ' is not closed, or something follows it.\n"
        "     action: End the value with ', and put a \\ before one inside it.\n"
        "\n"
        f"3. {file}, line 5: not NAME=value.\n"
        "     action: Write NAME=value; the name holds no spaces.\n"
        "\n"
        f"4. {file}, line 7: no '=' after a name.\n"
        "     action: Write NAME=value, or put a # before a comment.\n"
        "\n"
        "5. SHOP_LEVEL 'x': not a whole number.\n"
        "     cause:  It was set in .env line 6, declared by app shop.\n"
        "     action: Set it to a whole number."
    )


@pytest.mark.parametrize(
    ("content", "reason", "action"),
    [
        (b"A=1\nB=\xff\n", "line 2: not UTF-8", "Save the file as UTF-8."),
        (b"A=1\n\nB=\0\n", "line 3: holds a NUL character", "Remove the character."),
    ],
)
def test_a_dotenv_file_that_is_no_text_is_reported(tmp_path: Path, content: bytes, reason: str, action: str) -> None:
    assert report(dotenv(tmp_path, content)) == (
        f"The configuration has 1 problem.\n\n1. {tmp_path / '.env'}, {reason}.\n     action: {action}"
    )


def refuse(*args: object, **kwargs: object) -> NoReturn:
    """In place of a file's mode, which root may ignore."""
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_dotenv_file_without_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = dotenv(tmp_path, "A=1\n")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        text = report(sources)
    assert text == (
        "The configuration has 1 problem.\n"
        "\n"
        f"1. {tmp_path / '.env'}: cannot be read: Permission denied.\n"
        "     action: Make it readable for this user, or remove it."
    )


names = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def quoted(value: str, quote: str) -> str:
    return quote + value.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote


@given(st.dictionaries(names, texts), st.sampled_from("'\""))
def test_every_value_survives_a_dotenv_file_in_quotes(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str], quote: str
) -> None:
    file = tmp_path_factory.mktemp("dotenv") / ".env"
    content = "".join(f"{name}={quoted(value, quote)}\n" for name, value in values.items())
    file.write_bytes(content.encode())
    found = read_dotenv(file)
    assert found.problems == ()
    assert found.values == values


@given(st.binary())
def test_any_bytes_are_a_dotenv_file_or_a_report_of_lines_that_exist(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.mktemp("dotenv") / ".env"
    file.write_bytes(content)
    found = read_dotenv(file)
    last = content.count(b"\n") + content.count(b"\r") + 1
    for line in found.lines.values():
        assert 1 <= line <= last
    for problem in found.problems:
        assert problem.action
        assert 1 <= int(problem.key.rpartition(" ")[2]) <= last


@given(st.lists(st.sampled_from(["A=1", "hunter2", "B='hunter2", "=hunter2", "C hunter2 = x", "", "# hunter2"])))
def test_no_report_shows_what_a_dotenv_file_says(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    file = tmp_path_factory.mktemp("dotenv") / ".env"
    file.write_text("\n".join(lines))
    found = read_dotenv(file)
    assert "hunter2" not in "".join(f"{problem.key} {problem.reason} {problem.action}" for problem in found.problems)
    assert "hunter2" not in repr(found)


def test_a_value_is_read_from_the_file_that_its_variable_names(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    configuration = read(Sources({"SHOP_TOKEN_FILE": "token"}, tmp_path))
    assert configuration[Shop].token.reveal() == "hunter2"
    assert configuration.explain("SHOP_TOKEN").entry.origin == "token (SHOP_TOKEN_FILE in the environment)"


def test_a_file_works_for_every_variable_and_in_every_layer(tmp_path: Path) -> None:
    (tmp_path / "level").write_text(" 7 \n")
    configuration = read(dotenv(tmp_path, f"SHOP_LEVEL_FILE={tmp_path / 'level'}\n"))
    assert configuration[Shop].level == 7


def test_a_stronger_layer_wins_over_the_file_of_a_weaker_one(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from the file")
    environ = {"SHOP_TOKEN_FILE": str(tmp_path / "token")}
    assert read(Sources(environ, None, {"SHOP_TOKEN": "x"}))[Shop].token == Secret("x")
    (tmp_path / ".env").write_text("SHOP_TOKEN=for development\n")
    assert read(Sources(environ, tmp_path))[Shop].token == Secret("from the file")


def test_a_variable_set_beside_its_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2")
    environ = {"SHOP_TOKEN": "hunter2", "SHOP_TOKEN_FILE": str(tmp_path / "token")}
    assert report(Sources(environ, None)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. SHOP_TOKEN: set twice, by SHOP_TOKEN and by SHOP_TOKEN_FILE.\n"
        "     cause:  It was set in the environment, declared by app shop.\n"
        "     action: Remove SHOP_TOKEN or SHOP_TOKEN_FILE."
    )


def test_a_file_that_is_missing_is_reported(tmp_path: Path) -> None:
    assert report(Sources({"SHOP_TOKEN_FILE": "/nowhere/token"}, tmp_path)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. SHOP_TOKEN_FILE '/nowhere/token': no such file.\n"
        "     cause:  It was set in the environment, declared by app shop.\n"
        "     action: Make it the path of a file that this user can read, or set SHOP_TOKEN instead."
    )


def test_a_file_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "long").write_bytes(b"x" * 1_048_577)
    os.mkfifo(tmp_path / "pipe")

    def reason(name: str) -> str:
        return report(Sources({"SHOP_TOKEN_FILE": name}, tmp_path)).splitlines()[2]

    assert reason("bytes") == "1. SHOP_TOKEN_FILE 'bytes': not UTF-8."
    assert reason("long") == "1. SHOP_TOKEN_FILE 'long': more than 1 MiB long."
    assert reason("pipe") == "1. SHOP_TOKEN_FILE 'pipe': not a regular file."
    assert reason("") == "1. SHOP_TOKEN_FILE '': not a regular file."
    assert reason("bytes/x") == "1. SHOP_TOKEN_FILE 'bytes/x': not a directory."
    assert reason("\0") == "1. SHOP_TOKEN_FILE '\\x00': embedded null byte."


def test_a_file_without_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        text = report(Sources({"SHOP_TOKEN_FILE": "token"}, tmp_path))
    assert "SHOP_TOKEN_FILE 'token': a file that this user may not read." in text


def test_sources_do_not_show_values() -> None:
    assert repr(Sources({"A": "hunter2"}, None, {"A": "hunter2"}, {"A": "hunter2"})) == "Sources(folder=None)"
