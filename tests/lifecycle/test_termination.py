"""The last words of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from eggycore import hookimpl
from eggycore.plugin_errors import HookFailed
from eggycore.runtime import Runtime
from eggycore.termination import LIMIT, leave_message


def test_the_text_is_written_where_kubernetes_has_made_the_file(tmp_path: Path):
    file = tmp_path / "termination-log"
    file.touch()
    leave_message("é" * LIMIT, file)
    assert file.stat().st_size == LIMIT


def test_no_file_is_made(tmp_path: Path):
    leave_message("words", tmp_path / "termination-log")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_leaves_its_diagnosis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "termination-log"
    file.touch()
    monkeypatch.setattr("eggycore.termination.TERMINATION_LOG", file)

    class App:
        @hookimpl
        def init_infra(self, runtime: Runtime) -> None:
            raise ValueError("no")

    runtime = Runtime(app=App(), discover=False, environ={}, folder=tmp_path)
    with pytest.raises(HookFailed):
        runtime.run()
    assert file.read_text().startswith(f"App {App.__qualname__} failed in init_infra.\n  cause:  ValueError: no")
