"""What `eggycore doctor --bundle` packs: texts, with every secret masked, for whoever helps."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from eggycore.cli.config import render_config
from eggycore.cli.examination import Examination
from eggycore.cli.plan import render_plan
from eggycore.cli.plugins import plugin_rows
from eggycore.cli.version import versions
from eggycore.config.secret import MASK, Secret
from eggycore.diagnostics import diagnose, render
from eggycore.errors import EggycoreError
from eggycore.runtime import Runtime

__all__ = ["write_bundle"]

SHORTEST_SECRET = 4
"""Characters; a shorter secret is not searched for in the texts, it would be found in every word."""


def write_bundle(file: Path, examination: Examination, rows: str) -> None:
    """Write the bundle, readable by its owner only.

    Args:
        file: Ends in .tar.gz or .zip.
        examination: What was looked at.
        rows: Its findings as text.
    """
    runtime = examination.runtime
    texts = {"doctor.txt": rows, **dict(_texts(runtime))}
    masked = {name: _masked(f"{text}\n", runtime).encode() for name, text in texts.items()}
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
        target.write(_zip(masked) if file.suffix == ".zip" else _tar(masked))


def _texts(runtime: Runtime) -> Iterator[tuple[str, str]]:
    yield "versions.json", json.dumps(versions(), indent=2)
    yield "plugins.json", json.dumps(plugin_rows(runtime.plugins.records), indent=2)
    try:
        yield "config.txt", render_config(runtime.configure())
    except EggycoreError as error:
        yield "config.txt", render(diagnose(error))
        return
    try:
        plan = runtime.make_plan()
    except EggycoreError as error:
        yield "plan.txt", render(diagnose(error))
        return
    yield "plan.txt", render_plan(plan)
    yield "plan.json", json.dumps(plan.to_dict(), indent=2)


def _masked(text: str, runtime: Runtime) -> str:
    """The text without the value of any secret, wherever a message may have picked one up."""
    for secret in _secrets(runtime):
        text = text.replace(secret, MASK)
    return text


def _secrets(runtime: Runtime) -> Iterator[str]:
    try:
        values = runtime.config.values.values()
    except EggycoreError:  # it could not be read, so no value was kept
        return
    for value in values:
        if isinstance(value.value, Secret) and len(secret := str(value.value.reveal())) >= SHORTEST_SECRET:
            yield secret


def _zip(texts: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(f"doctor/{name}", text)
    return packed.getvalue()


def _tar(texts: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"doctor/{name}")
            member.size = len(text)
            member.mtime = int(time.time())
            archive.addfile(member, io.BytesIO(text))
    return packed.getvalue()
