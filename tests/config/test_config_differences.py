"""What differs between two environments, and which secrets stand in files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eggycore.config import Config, Declared, Secret, Settings, Sources, env
from eggycore.config.differences import Difference, Examined, Side, differences
from eggycore.config.exposed import exposed_secrets
from eggycore.config.loading import examine
from eggycore.errors import ConfigProblem
from eggycore.types import Origin

APP = Origin("shop", kind="app")


class Shops(Settings):
    names: tuple[str, ...] = env("SHOPS", default=(), doc="Their names.")


class Shop(Settings, family="SHOPS", prefix="SHOP_"):
    token: Secret[str] | None = env("SHOP_TOKEN", default=None, doc="Who may enter.")
    most: int = env("SHOP_MOST", default=4, ge=1, doc="Customers at once.")
    queue: int = env("SHOP_QUEUE", default=4, also=("SHOP_LINE",), doc="Those who wait.")


class Street(Settings):
    name: str = env("STREET_NAME", doc="Where it is.")
    width: int = env("STREET_WIDTH", default=9, doc="In steps.")

    def problems(self) -> Iterable[ConfigProblem]:
        if self.width > 50:
            yield ConfigProblem(key="STREET_WIDTH", reason="no street any more", action="Close it.")


DECLARED = [Declared(Config, Origin("eggycore", kind="core")), *(Declared(one, APP) for one in (Shops, Shop, Street))]


def write(folder: Path, **files: Mapping[str, Any]) -> None:
    (folder / "config").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / "config" / f"{name}.json").write_text(json.dumps(content, indent=1))


def read(folder: Path, environment: str, environ: Mapping[str, str] | None = None) -> Examined:
    sources = Sources({"SERVICE_NAME": "shop", **(environ or {})}, folder, environment=environment)
    return Examined(environment, *examine(DECLARED, sources))


def compared(folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, Difference]:
    found = differences(read(folder, "staging", environ), read(folder, "production", environ))
    return {one.key: one for one in found}


def set_to(shown: str, origin: str) -> Side:
    return Side(state="set", shown=shown, origin=origin)


def test_values_that_differ_are_told_with_where_they_are_set(tmp_path: Path) -> None:
    write(tmp_path, staging={"street": {"name": "Elm"}}, production={"street": {"name": "Oak"}})
    assert compared(tmp_path) == {
        "STREET_NAME": Difference(
            key="STREET_NAME",
            owner="app shop",
            secret=False,
            same_value=False,
            one=set_to("Elm", "config/staging.json line 3"),
            other=set_to("Oak", "config/production.json line 3"),
        )
    }


def test_equal_values_differ_only_when_they_come_from_another_layer(tmp_path: Path) -> None:
    write(
        tmp_path,
        base={"street_name": "Elm", "shop_most": 4},
        staging={"shop": {"queue": 5}},
        production={"shop_token": None, "street_name": "Elm", "shop": {"queue": 5}},
    )
    found = compared(tmp_path)
    assert found.keys() == {"SHOP_TOKEN", "STREET_NAME"}
    assert all(one.same_value for one in found.values())
    assert (found["STREET_NAME"].one.origin, found["STREET_NAME"].other.origin) == (
        "config/base.json line 2",
        "config/production.json line 3",
    )
    assert compared(tmp_path, {"STREET_NAME": "Elm", "SHOP_TOKEN": ""}) == {}


def test_secrets_are_compared_and_not_shown(tmp_path: Path) -> None:
    write(tmp_path, base={"street_name": "Elm"}, staging={"shop_token": "one"}, production={"shop_token": "hunter2"})
    token = compared(tmp_path)["SHOP_TOKEN"]
    assert (token.secret, token.same_value, token.one.shown, token.other.shown) == (True, False, "******", "******")
    assert "hunter2" not in repr(compared(tmp_path))


def test_what_is_missing_or_wrong_is_a_difference_and_stops_nothing(tmp_path: Path) -> None:
    write(tmp_path, staging={"street_name": "Elm"}, production={"shop_line": "long"})
    found = compared(tmp_path)
    assert found["STREET_NAME"].other == Side(state="missing")
    assert found["SHOP_QUEUE"].one == set_to("4", "default")
    assert found["SHOP_QUEUE"].other == Side(
        state="wrong", shown="not a whole number", origin="config/production.json line 2"
    )
    assert read(tmp_path, "production").other_problems == ()


def test_what_is_missing_in_both_does_not_differ(tmp_path: Path) -> None:
    write(tmp_path, staging={}, production={})
    assert compared(tmp_path) == {}


def test_a_member_of_one_of_them_shows_what_is_set_for_it(tmp_path: Path) -> None:
    write(tmp_path, base={"street_name": "Elm"}, staging={}, production={"shops": ["east"], "shop": {"east_most": 7}})
    found = compared(tmp_path)
    assert found.keys() == {"SHOPS", "SHOP_EAST_MOST"}
    assert found["SHOP_EAST_MOST"].one == Side(state="absent")
    assert found["SHOP_EAST_MOST"].other == set_to("7", "config/production.json line 6")


def test_problems_that_are_no_variable_s_are_kept_apart(tmp_path: Path) -> None:
    write(tmp_path, base={"street_name": "Elm"}, staging={}, production={"street_width": 99})
    (tmp_path / "config" / "staging.toml").write_text("a = [")
    (unreadable,) = read(tmp_path, "staging").other_problems
    assert unreadable.key.startswith("config/staging.toml")
    (between,) = read(tmp_path, "production").other_problems
    assert (between.key, between.reason) == ("STREET_WIDTH", "no street any more")


def exposed(folder: Path, environment: str = "production") -> list[str]:
    examined = read(folder, environment, {"TOKEN": "hunter4"})
    return [str(one) for one in exposed_secrets(examined.configuration)]


def test_a_secret_in_a_file_for_more_than_development_is_told_without_its_value(tmp_path: Path) -> None:
    write(tmp_path, base={"shop_token": "hunter2"}, production={"shop": {"token": "hunter3"}})
    advice = (
        "is a secret: everybody knows it who can read the file. "
        "Set SHOP_TOKEN_FILE to the path of a mounted file, or write ${SHOP_TOKEN} there."
    )
    assert exposed(tmp_path) == [
        f"SHOP_TOKEN, set in config/production.json line 3, {advice}",
        f"SHOP_TOKEN, set in config/base.json line 2, {advice}",
    ]
    assert len(exposed(tmp_path, "development")) == 1


def test_references_files_and_addresses_without_password_are_no_secrets_that_somebody_reads(tmp_path: Path) -> None:
    write(tmp_path, development={"shop_token": "hunter2"}, production={"shop_token": "${TOKEN}"})
    assert exposed(tmp_path) == exposed(tmp_path, "development") == []
    write(tmp_path, production={"shop_token_file": "/run/secrets/token"})
    assert exposed(tmp_path) == []
    write(tmp_path, production={"shop_token": "sqlite:///shop.db"})
    assert exposed(tmp_path) == []
    write(tmp_path, production={"shop_token": "postgresql://shop:hunter2@db/shop"})
    assert len(exposed(tmp_path)) == 1
    write(tmp_path, production={"shop_token": "pa$${ss}"})
    assert len(exposed(tmp_path)) == 1
