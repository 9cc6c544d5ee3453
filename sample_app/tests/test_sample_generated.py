"""The generated code that is committed fits the proto."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GENERATED = Path("sample_app/generated/forms/v1")


@pytest.mark.parametrize("name", ["forms_pb2.py", "forms_pb2.pyi", "forms_pb2_grpc.py"])
def test_the_committed_code_is_what_the_proto_generates(name: str, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc", "-Isample_app/generated=proto"),
        *(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}"),
        "sample_app/generated/forms/v1/forms.proto",
    ]

    subprocess.run(command, cwd=ROOT, check=True)

    assert (ROOT / GENERATED / name).read_text() == (tmp_path / GENERATED / name).read_text()
