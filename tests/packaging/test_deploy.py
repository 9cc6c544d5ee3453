"""deploy/ is what it says: what can be seen of the image without an engine is right, and the manifests are of today.

No engine builds the image here. What a build would stumble over is looked at one by one: sources that are not there or
are ignored, a command that does not run, a HEALTHCHECK that does not pass.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from docs.generate import manifests
from tests.packaging.conftest import plain_environ
from tests.served import served

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    (word, rest.strip())
    for word, rest in re.findall(
        r"^([A-Z]+)\s+((?:.*\\\n)*.*)$", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE), flags=re.MULTILINE
    )
]
BIN = Path(sys.executable).parent


def instructions(word: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == word]


def command(text: str) -> list[str]:
    """The words of a command in its exec form."""
    words: list[str] = json.loads(text[text.index("[") :])
    return words


def manifest(name: str) -> dict:
    return yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text(encoding="utf-8"))


# --- the image


def test_every_instruction_is_one_of_docker_s_and_the_image_has_two_stages() -> None:
    known = {"ARG", "CMD", "COPY", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "WORKDIR"}
    assert {word for word, _ in INSTRUCTIONS} <= known
    first, second = instructions("FROM")
    assert first.endswith(" AS build")
    assert " AS " not in second


def test_what_is_copied_is_there_and_not_ignored() -> None:
    patterns = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in patterns if line.startswith("!")}
    assert "*" in patterns  # nothing else goes to the builder
    sources = [
        source for rest in instructions("COPY") if not rest.startswith("--from=") for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
    assert set(sources) == allowed


def test_settings_of_a_machine_and_databases_stay_out_of_the_image() -> None:
    patterns = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name in ("sample_app/.env", "sample_app/.env.local", "sample_app/eggycore.db", "sample_app/eggycore.db-wal"):
        assert any(fnmatch(f"x/{name}", f"x/{line.replace('**/', '*/')}") for line in patterns if line[:1] == "*"), name


def test_everything_of_the_repository_that_a_wheel_is_made_of_is_copied() -> None:
    copied = {source for rest in instructions("COPY") for source in rest.split()[:-1]}
    for project in (ROOT, *(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")), ROOT / "sample_app"):
        text = (project / "pyproject.toml").read_text(encoding="utf-8")
        named = {"pyproject.toml", *re.findall(r'^readme = "(.+)"$', text, flags=re.MULTILINE), "LICENSE"}
        parts = {str((project / name).relative_to(ROOT)).split("/")[0] for name in named}
        assert parts <= copied, project.name


def test_the_image_says_neither_a_secret_nor_where_packages_come_from() -> None:
    assert not re.search(r"://|index|find-links|trusted-host", DOCKERFILE)
    assert not re.search(r"(?i)password|token|secret|_dsn", " ".join(instructions("ENV")))


def test_the_image_runs_as_a_user_without_rights_by_number() -> None:
    user, group = instructions("USER")[-1].split(":")
    assert int(user) >= 1000
    spec = manifest("deployment")["spec"]["template"]["spec"]["securityContext"]
    assert (spec["runAsUser"], spec["runAsGroup"]) == (int(user), int(group))


def test_the_ports_of_the_manifests_are_those_of_the_image() -> None:
    (container,) = manifest("deployment")["spec"]["template"]["spec"]["containers"]
    exposed = {int(port) for port in instructions("EXPOSE")[0].split()}
    assert {port["containerPort"] for port in container["ports"]} == exposed


def test_the_command_of_the_image_runs_and_its_healthcheck_passes(tmp_path: Path) -> None:
    (run,), (check,) = instructions("CMD"), instructions("HEALTHCHECK")
    words = command(run)
    with served([str(BIN / words[0]), *words[1:]], cwd=tmp_path, environ=plain_environ()) as ports:
        environ = plain_environ(HEALTH_CHECK_PORT=str(ports["HEALTH_CHECK_PORT"]))
        probe = command(check)
        done = subprocess.run([str(BIN / probe[0]), *probe[1:]], env=environ, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([str(BIN / probe[0]), *probe[1:]], env=environ, capture_output=True, text=True)
    assert done.returncode == 1  # nobody answers any more


def test_docker_finds_nothing_to_complain_about() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode != 0:
        pytest.skip("there is no Docker engine")
    words = [docker, "build", "--check", "-f", str(DEPLOY / "Dockerfile"), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- compose


def test_the_app_of_the_compose_file_is_built_here_and_waits_for_its_servers() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    app = compose["services"]["app"]
    assert (DEPLOY / app["build"]["context"] / app["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert app["profiles"] == ["app"]  # the servers alone are what docs/servers.md starts
    for name in app["depends_on"]:
        assert "healthcheck" in compose["services"][name]
        assert any(f"@{name}:" in value for value in app["environment"].values())
    assert app["image"] == manifest("deployment")["spec"]["template"]["spec"]["containers"][0]["image"]


# --- the manifests


def test_the_manifests_are_those_that_the_sample_app_makes_today(tmp_path: Path) -> None:
    manifests(tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text() for path in (DEPLOY / "kubernetes").iterdir()}
    assert made == kept, "deploy/kubernetes is out of date: make docs"


def test_the_manifests_agree_with_the_sample_app(tmp_path: Path) -> None:
    words = ["k8s", "check", str(DEPLOY / "kubernetes"), "--app", "sample_app"]
    plugins = ["--plugins", "db,cache,monitoring,k8s-watch"]
    environ = plain_environ(PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(
        [sys.executable, "-m", "eggycore", *words, *plugins], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "11 objects, and no disagreement with the app was found.\n"), (
        done.stderr
    )
