"""Processes that contend for one Lease while they are killed, stopped and cut off: a short soak."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.kubernetes import KubernetesAPI
from tests.soak.electorate import Electorate
from tests.soak.trial import Trial, verdict


@pytest.fixture
def api() -> Iterator[KubernetesAPI]:
    with KubernetesAPI() as server:
        yield server


def test_six_contend_for_one_lease(api: KubernetesAPI, postgres_dsn: str, tmp_path: Path) -> None:
    electorate = Electorate(api, postgres_dsn, tmp_path, size=6, duration=2.0, rng=random.Random())
    trial = Trial(electorate)
    with electorate.contending():
        trial.do(trial.kill_the_leader, trial.stop_the_leader, trial.answer_500, trial.cut_every_connection)
    found = verdict(electorate)
    assert found["terms"] > 2
    assert found["rows"] > 100
    assert found["refused"] > 0
