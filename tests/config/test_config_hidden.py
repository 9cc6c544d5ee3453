"""A value that refers to a secret with `${NAME}` is masked as the secret is, wherever values are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from eggycore.config import Configuration, Declared, Secret, Settings, Sources, env, load
from eggycore.config.differences import Examined, differences
from eggycore.config.loading import examine
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin
from tests.config.folders import CORE, write


class Rooms(Settings):
    names: tuple[str, ...] = env("ROOMS", default=())


class Room(Settings, family="ROOMS", prefix="ROOM_"):
    key: Secret[str] = env("ROOM_KEY", default="none", also=("DOOR_KEY",))
    sign: str = env("ROOM_SIGN", default="none")
    beds: int = env("ROOM_BEDS", default=2, ge=1)


DECLARED = [CORE, *(Declared(settings, Origin("hotel", kind="app")) for settings in (Rooms, Room))]
ENVIRON = {"SERVICE_NAME": "hotel", "ROOM_KEY": "hunter2"}


def read(folder: Path, **environ: str) -> Configuration:
    return load(DECLARED, Sources(ENVIRON | environ, folder))


def shown(configuration: Configuration, key: str) -> list[str]:
    """All that is shown of the values of a variable, the winner first."""
    explanation = configuration.explain(key)
    (entry,) = [entry for entry in configuration.entries() if entry.key == key]
    assert entry == explanation.entry
    assert entry.secret == (entry.shown == "******")
    return [entry.shown, *(candidate.shown for candidate in explanation.candidates)]


@pytest.mark.parametrize(
    "text", ["${ROOM_KEY}", "a ${NONE:-${ROOM_KEY}} b", "x${DOOR_KEY:-}", "${LINE}", "${ROOMS}${ROOM_EAST_KEY:-}"]
)
def test_a_text_in_a_file_that_refers_to_a_secret_is_masked(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_text("LINE=${OTHER}\nOTHER=x${ROOM_KEY}\n")
    write(tmp_path, base_json={"room": {"sign": text}}, development_json={"room": {"sign": "welcome"}})
    configuration = read(tmp_path, ROOMS="east", ENVIRONMENT="staging")
    assert shown(configuration, "ROOM_SIGN") == ["******", "******", "none"]
    assert shown(configuration, "ROOM_EAST_SIGN") == ["******", "******", "none"], "it has the value of the class"
    assert shown(read(tmp_path, ROOMS="east"), "ROOM_SIGN") == ["welcome", "welcome", "******", "none"]


def test_a_line_of_dotenv_that_refers_to_a_secret_is_masked(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=${B}\nB=${ROOM_KEY}\nROOM_SIGN=${A}\n")
    assert shown(read(tmp_path), "ROOM_SIGN") == ["******", "******", "none"]


@pytest.mark.parametrize("line", ["'${ROOM_KEY}'", "$${ROOM_KEY}", "${ROOM_BEDS:-${ROOM_SIGNS:-x}}"])
def test_a_text_that_refers_to_no_secret_is_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"ROOM_SIGN={line}\n")
    configuration = read(tmp_path)
    assert shown(configuration, "ROOM_SIGN")[0] == configuration[Room].sign != "******"


def test_a_wrong_value_that_refers_to_a_secret_is_not_in_the_report(tmp_path: Path) -> None:
    write(tmp_path, base_toml="[room]\nsign = 'x'\nbeds = '${ROOM_KEY}'\n")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert render(diagnose(caught.value)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. ROOM_BEDS: not a whole number.\n"
        "     cause:  It was set in config/base.toml line 3, declared by app hotel.\n"
        "     action: Set it to a whole number of at least 1."
    )


def test_two_environments_that_refer_to_a_secret_are_only_told_to_differ(tmp_path: Path) -> None:
    write(tmp_path, staging_json={"room_sign": "${ROOM_KEY}"}, production_json={"room_sign": "${ROOM_KEY}!"})
    sides = [
        Examined(name, *examine(DECLARED, Sources(ENVIRON, tmp_path, environment=name)))
        for name in ("staging", "production")
    ]
    (difference,) = differences(*sides)
    assert (difference.secret, difference.same_value) == (True, False)
    assert (difference.one.shown, difference.other.shown) == ("******", "******")


def test_a_digest_does_not_tell_what_refers_to_a_secret(tmp_path: Path) -> None:
    write(tmp_path, base_json={"room_sign": "${ROOM_KEY}"})
    assert read(tmp_path).digest() == read(tmp_path, ROOM_KEY="hunter3").digest()
