"""Twenty processes contend for one Lease, with everything that can go wrong: `make soak`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.kubernetes import KubernetesAPI
from tests.soak.electorate import Electorate
from tests.soak.trial import Trial, verdict

SECONDS = float(os.environ.get("EGGYCORE_SOAK_SECONDS", "120"))
SEED = int(os.environ.get("EGGYCORE_SOAK_SEED", "0")) or random.SystemRandom().randrange(2**32)


@pytest.fixture
def api() -> Iterator[KubernetesAPI]:
    with KubernetesAPI() as server:
        yield server


def test_twenty_contend_for_one_lease(api: KubernetesAPI, postgres_dsn: str, tmp_path: Path) -> None:
    print(f"EGGYCORE_SOAK_SEED={SEED}")
    electorate = Electorate(api, postgres_dsn, tmp_path, size=20, duration=4.0, rng=random.Random(SEED))
    trial = Trial(electorate)
    with electorate.contending():
        trial.run(SECONDS)
    found = verdict(electorate)
    print(
        f"{found['terms']} terms, {found['rows']} rows, {found['refused']} refused, {len(trial.takeovers)} takeovers,"
    )
    print(f"the slowest took {max(trial.takeovers):.2f} s; done: {len(trial.done)} things")
    assert found["rows"] > SECONDS
    assert found["refused"] > 0, "no old term has tried to write, so nothing was shown"
