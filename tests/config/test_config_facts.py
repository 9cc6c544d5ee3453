"""What is known of where the process runs."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from eggycore.config.facts import Facts, in_container, in_kubernetes


def test_a_pod_is_told_by_the_address_of_the_api_server() -> None:
    assert in_kubernetes({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert not in_kubernetes({})


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_container_is_told_by_the_mark_of_its_engine(tmp_path: Path, mark: str) -> None:
    assert not in_container(tmp_path)
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()
    assert in_container(tmp_path)


def test_a_pod_is_a_container() -> None:
    facts = Facts.of({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "PASSWORD": "x1y2"})
    assert (facts.kubernetes, facts.container) == (True, True)
    assert "x1y2" not in repr(facts)


def test_a_process_without_standard_output_has_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert not Facts.here().terminal
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert not Facts.here().terminal


def test_a_terminal_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    assert Facts.here().terminal
