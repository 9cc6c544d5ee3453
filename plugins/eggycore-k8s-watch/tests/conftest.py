"""The API server that most of these tests talk to; some have one of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.kubernetes import KubernetesAPI


@pytest.fixture
def server() -> Iterator[KubernetesAPI]:
    with KubernetesAPI() as api:
        api.bookmark_every(0.5)
        yield api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sa").mkdir()
    return tmp_path / "sa"
