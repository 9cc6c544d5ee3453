"""Does what a page tells its reader to do: writes its files, runs its commands, compares what they print.

A block whose paragraph before it ends with a name in backticks and a colon is a file of that name. In a `console` block
each line that begins with `$ ` is a command, and the lines below it are what it prints; `...` stands for anything.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.served import served

SHOWN_PORTS = {
    "8080": "BUSINESS_HTTP_PORT",
    "8081": "HEALTH_CHECK_PORT",
    "9090": "BUSINESS_GRPC_PORT",
    "9091": "METRICS_PORT",
}

_BLOCK = re.compile(r"(?P<before>[^\n]*)\n\n```(?P<language>\w+)\n(?P<body>.*?)```", re.DOTALL)
_FILE = re.compile(r"`(?P<name>[\w./-]+)`:$")


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Args:
        words: The command, split as a shell does.
        output: What the page says that it prints; "" when it says nothing.
    """

    words: list[str]
    output: str


def files(page: str) -> dict[str, str]:
    """The files that a page shows, by their path."""
    named = ((_FILE.search(block["before"]), block["body"]) for block in _BLOCK.finditer(page))
    return {name["name"]: body for name, body in named if name}


def code(page: str) -> list[str]:
    """The python blocks of a page that are not files."""
    found = ((block["language"], _FILE.search(block["before"]), block["body"]) for block in _BLOCK.finditer(page))
    return [body for language, name, body in found if language == "python" and not name]


def commands(page: str) -> Iterator[Command]:
    """The commands that a page shows in its console blocks."""
    for block in _BLOCK.finditer(page):
        if block["language"] == "console":
            for step in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
                line, _, output = step.partition("\n")
                yield Command(shlex.split(line), output.strip())


class Walkthrough:
    """A reader in an empty folder, with every port moved to a free one.

    Args:
        folder: Where files are written and commands run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, int] = {}

    def follow(self, page: str) -> list[str]:
        """Do everything on the page.

        Returns:
            What differs: one entry for each command that printed something else than the page says.
        """
        for name, text in files(page).items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        differences: list[str] = []
        with ExitStack() as server:
            for command in commands(page):
                if command.words[:2] == ["eggycore", "run"]:
                    server.close()
                    run = served(command.words, cwd=self._folder, environ=self._environ())
                    self._ports = server.enter_context(run)
                else:
                    differences += self._differences(command)
        return differences

    def _differences(self, command: Command) -> Iterator[str]:
        printed = self._curl(command.words[1:]) if command.words[0] == "curl" else self._run(command.words)
        if command.output and not _like(command.output).fullmatch(printed.strip()):
            yield f"$ {shlex.join(command.words)}\nthe page says:\n{command.output}\nit printed:\n{printed}"

    def _environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(words, cwd=self._folder, env=self._environ(), capture_output=True, text=True)
        return done.stdout + done.stderr

    def _curl(self, words: list[str]) -> str:
        given = _CURL.parse_args(words)
        address = re.sub(r":(\d+)/", lambda port: f":{self._ports[SHOWN_PORTS[port[1]]]}/", given.url)
        body = given.data.encode() if given.data is not None else None
        headers = dict(header.split(": ", 1) for header in given.header)
        request = urllib.request.Request(f"http://{address}", body, headers, method=given.request)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()


_CURL = argparse.ArgumentParser()
_CURL.add_argument("url")
_CURL.add_argument("-X", dest="request")
_CURL.add_argument("-d", dest="data")
_CURL.add_argument("-H", dest="header", action="append", default=[])
_CURL.add_argument("-s", action="store_true")


def _like(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("..."))), re.DOTALL)
