"""Overlays: what may be laid over the environment, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from eggycore.config import Configuration, Declared, Layer, Secret, Settings, Sources, env, load
from eggycore.config.documents import parse_document
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin

MAP = "ConfigMap shop/forms, key "


class Shop(Settings):
    level: int = env("SHOP_LEVEL", default=0, reload=True, also=("SHOP_GRADE",))
    names: tuple[str, ...] = env("SHOP_NAMES", default=(), reload=True)
    host: str = env("SHOP_HOST", default="here")
    token: Secret[str] = env("SHOP_TOKEN", default="none", reload=True)


class Pool(Settings, family="STORES", prefix="STORE_"):
    size: int = env("STORE_SIZE", default=1, ge=1, reload=True)
    host: str = env("STORE_HOST", default="here")


class Stores(Settings):
    stores: tuple[str, ...] = env("STORES", default=())


APP = Origin("shop", kind="app")
DECLARED = [Declared(Shop, APP), Declared(Stores, APP), Declared(Pool, APP)]


def overlay(**values: str) -> Layer:
    return Layer("ConfigMap shop/forms", values, origins={key: f"{MAP}{key}" for key in values})


def read(
    *overlays: Layer, environ: dict[str, str] | None = None, folder: Path | None = None, **overrides: str
) -> Configuration:
    return load(DECLARED, Sources(environ or {}, folder, overrides, overlays=overlays))


def test_an_overlay_lies_over_the_environment_and_below_the_command_line() -> None:
    environ = {"SHOP_LEVEL": "1"}
    configuration = read(overlay(SHOP_LEVEL="2"), environ=environ)
    assert configuration[Shop].level == 2
    assert configuration.values["SHOP_LEVEL"].origin == "ConfigMap shop/forms, key SHOP_LEVEL"
    assert read(overlay(SHOP_LEVEL="2"), environ=environ, SHOP_LEVEL="3")[Shop].level == 3
    assert configuration.ignored == ()


def test_the_later_of_two_overlays_wins_and_an_explanation_shows_both() -> None:
    configuration = read(overlay(SHOP_LEVEL="2"), Layer("b", {"SHOP_LEVEL": "3"}), environ={"SHOP_LEVEL": "1"})
    said = [(one.shown, one.origin, one.chosen) for one in configuration.explain("SHOP_LEVEL").candidates]
    assert said == [
        ("3", "b", True),
        ("2", "ConfigMap shop/forms, key SHOP_LEVEL", False),
        ("1", "environment", False),
        ("0", "default", False),
    ]


def test_an_overlay_may_use_another_name_and_holds_for_members() -> None:
    configuration = read(overlay(SHOP_GRADE="2", STORE_A_SIZE="5", STORE_SIZE="3"), environ={"STORES": "a,b"})
    assert configuration[Shop].level == 2
    assert {name: one.size for name, one in configuration.family(Pool).items()} == {"a": 5, "b": 3}
    assert configuration.ignored == ()


def test_what_an_overlay_cannot_set_is_ignored_and_told() -> None:
    configuration = read(
        overlay(
            SHOP_HOST="elsewhere",
            SHOP_TOKEN="hunter2",
            SHOP_LEVEL_FILE="/etc/passwd",
            SHOP_LEVLE="hunter3",
            UNRELATED="x",
            STORES="b",
            STORE_A_HOST="elsewhere",
            STORE_B_SIZE="2",
            SHOP_LEVEL="7",
        ),
        environ={"STORES": "a"},
    )
    assert configuration[Shop] == Shop(level=7)
    assert configuration.family(Pool) == {"a": configuration.family(Pool)["a"]}
    assert list(map(str, configuration.ignored)) == [
        f"SHOP_HOST, set in {MAP}SHOP_HOST, is ignored: it only changes with a restart.",
        f"SHOP_TOKEN, set in {MAP}SHOP_TOKEN, is ignored: a secret cannot come from an overlay.",
        f"SHOP_LEVEL_FILE, set in {MAP}SHOP_LEVEL_FILE, is ignored: an overlay cannot name files.",
        f"SHOP_LEVLE, set in {MAP}SHOP_LEVLE, is ignored: nobody declares it. Did you mean 'SHOP_LEVEL'?",
        f"UNRELATED, set in {MAP}UNRELATED, is ignored: nobody declares it.",
        f"STORES, set in {MAP}STORES, is ignored: it only changes with a restart.",
        f"STORE_A_HOST, set in {MAP}STORE_A_HOST, is ignored: it only changes with a restart.",
        f"STORE_B_SIZE, set in {MAP}STORE_B_SIZE, is ignored: nobody declares it. Did you mean 'STORE_A_SIZE'?",
    ]
    assert "hunter" not in repr(configuration.ignored)
    assert configuration.unknown == ()


def test_a_secret_is_never_hinted_at() -> None:
    (told,) = read(overlay(SHOP_TOKN="x")).ignored
    assert "SHOP_TOKEN" not in str(told)


def test_a_wrong_value_of_an_overlay_is_reported_with_its_place() -> None:
    text = "shop:\n  level: loud\n  names: [a, b]\n"
    document = parse_document(text, name=f"{MAP}production.yaml", format="yaml")
    layer = Layer.of(document, f"{MAP}production.yaml")
    with pytest.raises(ConfigError) as caught:
        read(layer)
    assert render(diagnose(caught.value)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. SHOP_LEVEL 'loud': not a whole number.\n"
        "     cause:  It was set in ConfigMap shop/forms, key production.yaml line 2, declared by app shop.\n"
        "     action: Set it to a whole number."
    )


def test_a_list_or_a_table_for_one_value_is_reported() -> None:
    for text, value, reason in (("[1, 2]", " '1,2'", "a list"), ("{a: 1}", "", "a table")):
        layer = Layer.of(parse_document(f"shop-level: {text}", name="x", format="yaml"), "x")
        with pytest.raises(ConfigError) as caught:
            read(layer)
        assert render(diagnose(caught.value)) == (
            "The configuration has 1 problem.\n"
            "\n"
            f"1. SHOP_LEVEL{value}: {reason}, where one value is wanted.\n"
            "     cause:  It was set in x line 1, declared by app shop.\n"
            "     action: Set it to a whole number."
        )


def test_a_table_where_an_overlay_can_set_nothing_is_no_problem() -> None:
    layer = Layer.of(parse_document("shop-host: {a: 1}", name="x", format="yaml"), "x")
    assert read(layer)[Shop].host == "here"


def test_an_overlay_is_taken_literally() -> None:
    configuration = read(Layer("x", {"SHOP_NAMES": "${HOME}"}), environ={"HOME": "/root"})
    assert configuration[Shop].names == ("${HOME}",)


def test_overlays_do_not_show_values() -> None:
    assert "hunter2" not in repr(Sources({}, None, overlays=(overlay(SHOP_LEVEL="hunter2"),)))
    assert "hunter2" not in repr(overlay(SHOP_LEVEL="hunter2"))
