"""The JSON Schema of files in config/: it takes what the reading takes, and tells editors what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from eggycore.config import Config, Declared, Duration, Other, Secret, Settings, Size, Sources, env, load
from eggycore.config.kinds import Url
from eggycore.config.schema import json_schema, module_names
from eggycore.errors import ConfigError
from eggycore.runtime import Runtime
from eggycore.selection import Selection
from eggycore.types import Origin

APP = Origin("shop", kind="app")


class Shops(Settings):
    names: tuple[str, ...] = env("SHOPS", default=(), doc="Their names.")


class Shop(Settings, family="SHOPS", prefix="SHOP_"):
    name: str = env("SHOP_NAME", default="corner", doc="Name over the door.")
    sign: str = env("SHOP_SIGN", default="", allow_empty=True, doc="What stands below it.")
    token: Secret[str] | None = env("SHOP_TOKEN", default="hunter2", doc="Who may enter.")
    most: int = env("SHOP_MOST", default=4, ge=1, le=99, reload=True, doc="Customers at once.")
    rebate: float = env("SHOP_REBATE", default=0.5, ge=0, le=1, doc="What friends get.")
    open: bool = env("SHOP_OPEN", default=True, doc="Whether it is.")
    wait: Duration = env("SHOP_WAIT", default=0.25, ge=0.1, doc="Patience.")
    polite_wait: float = env("SHOP_POLITE_WAIT", default=0.5, ge=0.25, le=2, unit="ms", doc="More of it.")
    shelf: Size = env("SHOP_SHELF", default=512_000_000, doc="Room on it.")
    mood: Literal["good", "bad", "true"] | None = env("SHOP_MOOD", default=None, doc="Today's.")
    plan: Path | None = env("SHOP_PLAN", default=None, doc="Of the floor.")
    goods: tuple[str, ...] = env("SHOP_GOODS", default=("eggs", "milk"), doc="What there is.")
    hours: tuple[int, ...] = env("SHOP_HOURS", default=(9, 17), ge=0, le=24, doc="When it is open.")
    pauses: tuple[Duration, ...] = env("SHOP_PAUSES", default=(60.0, 0.5), unit="s", doc="When it is not.")
    moods: tuple[Literal["good", "bad"], ...] = env("SHOP_MOODS", default=(), doc="Possible ones.")
    site: Url = env("SHOP_SITE", default="https://me:hunter2@shop.example", doc="Its address.")
    wait_note: str = env("SHOP_WAIT_NOTE", default="soon", also=(Other("QUEUE_NOTE"),), doc="For those who wait.")


DECLARED = [Declared(Config, Origin("eggycore", kind="core")), Declared(Shops, APP), Declared(Shop, APP)]
SCHEMA = json_schema(DECLARED, title="shop")
VALIDATOR = Draft202012Validator(SCHEMA)
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"shop_name": "x"},
    {"SHOP_NAME": "x"},
    {"shop": {"name": "x", "most": 5}},
    {"shop_name": 7},
    {"shop_most": "5"},
    {"shop_most": " 1_0 "},
    {"shop_rebate": 0.25},
    {"shop_rebate": "5e-1"},
    {"shop_open": False},
    {"shop_open": "yes"},
    {"shop_wait": "250ms"},
    {"shop_wait": "1h30m"},
    {"shop_polite_wait": 300},
    {"shop_polite_wait": "300"},
    {"shop_shelf": "64 mib"},
    {"shop_shelf": 0},
    {"shop_mood": "GOOD"},
    {"shop_mood": True},
    {"shop_mood": None},
    {"shop_plan": "/srv/plan"},
    {"shop_plan": ""},
    {"shop_goods": ["eggs", 7]},
    {"shop_goods": "eggs, 7"},
    {"shop_goods": 7},
    {"shop_hours": [9, "17"]},
    {"shop_hours": "9, 17,"},
    {"shop_hours": 9},
    {"shop_hours": ""},
    {"shop_pauses": ["250ms", 5]},
    {"shop_pauses": "250ms,5"},
    {"shop_moods": ["good", "BAD"]},
    {"shop_site": "http://localhost:8080/x"},
    {"shop_goods": None},
    {"shop_sign": ""},
    {"shop_token": None},
    {"shop": {"wait": {"note": "x"}}},
    {"queue_note": "x"},
    {"queue": {"note": "x"}},
    {"shops": ["east"], "shop": {"east": {"most": 5, "wait": {"note": "later"}}}},
    {"shops": ["east"], "shop": {"east_most": 5}},
    {"shops": ["east"], "shop_east": {"most": 5}},
    {"shops": ["east"], "SHOP_EAST_MOST": 5, "shop_east_polite_wait": "300ms"},
    {"shops": ["east"], "SHOP_EAST_POLITE_WAIT": 300},
    {"nobody": {"knows": {"this": [1]}}, "anything": "x", "shop": {"cellar": "x"}},
    {"$schema": "./schema.json"},
    {"service": {"name": "${ENGINE:-shop}"}, "business": {"http": {"port": 80}}},
    {"business_http_port": "${PORT:-8080}"},
    {"shop_mood": "${MOOD:-good}"},
]
REFUSED: list[dict[str, Any]] = [
    {"shop_name": ""},
    {"shop_name": ["x"]},
    {"shop_name": {"first": "x"}},
    {"shop_most": "many"},
    {"shop_most": 0},
    {"shop_most": 100},
    {"shop_most": True},
    {"shop_most": None},
    {"shop_most": [5]},
    {"SHOP_MOST": "many"},
    {"shop": {"most": "many"}},
    {"shop_rebate": 1.5},
    {"shop_open": "perhaps"},
    {"shop_wait": "soon"},
    {"shop_wait": 5},
    {"shop_wait": ["5s"]},
    {"shop_polite_wait": 3000},
    {"shop_shelf": 512},
    {"shop_shelf": "512 crates"},
    {"shop_mood": "so-so"},
    {"shop_goods": [["eggs"]]},
    {"shop_goods": ["eggs,milk"]},
    {"shop_hours": [9, 25]},
    {"shop_hours": ["nine"]},
    {"shop_hours": "9 to 17"},
    {"shop_pauses": ["soon"]},
    {"shop_moods": ["good", "so-so"]},
    {"shop_site": "shop.example"},
    {"queue": {"note": ""}},
    {"shop": {"wait": {"note": ""}}},
    {"shops": ["east"], "shop": {"east": {"most": "many"}}},
    {"shops": ["east"], "shop": {"east_most": "many"}},
    {"shops": ["east"], "shop_east": {"polite_wait": "soon"}},
    {"shops": ["east"], "SHOP_EAST_MOST": "many"},
    {"environment": "production"},
    {"ENVIRONMENT": "production"},
    {"config": {"dir": "/etc/shop"}},
    {"business": {"http_port": 80800}},
]


def is_valid(document: object, validator: Draft202012Validator = VALIDATOR) -> bool:
    return bool(validator.is_valid(document))


def can_be_read(document: object, folder: Path, file: str = "base.json") -> bool:
    path = folder / "config" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    try:
        load(DECLARED, Sources({"SERVICE_NAME": "shop"}, folder))
    except ConfigError:
        return False
    return True


def definition(name: str) -> dict[str, Any]:
    definitions: Any = SCHEMA["$defs"]
    found: dict[str, Any] = definitions[name]
    return found


@pytest.mark.parametrize("document", ACCEPTED, ids=json.dumps)
def test_what_can_be_read_is_valid(document: dict[str, Any], tmp_path: Path) -> None:
    assert (is_valid(document), can_be_read(document, tmp_path)) == (True, True)


@pytest.mark.parametrize("document", REFUSED, ids=json.dumps)
def test_what_is_no_value_of_its_variable_is_refused_as_the_reading_does(
    document: dict[str, Any], tmp_path: Path
) -> None:
    assert (is_valid(document), can_be_read(document, tmp_path)) == (False, False)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.floats(-2, 3).filter(lambda number: not number.is_integer()),  # JSON Schema takes 5.0 for an integer
    st.text(st.sampled_from("0159.,_ -+truefalsyongodbmskMGiBh\n\t"), max_size=8),
    st.lists(st.one_of(st.integers(), st.booleans(), st.text("ab 7", min_size=1)), max_size=3),
)


KEYS = [one.key for settings in (Shops, Shop) for one in settings.__variables__]
KEYS.remove("SHOP_PLAN")  # a path `true` can be read, and is a mistake


@given(st.sampled_from(KEYS), VALUES)
def test_nothing_that_can_be_read_is_underlined(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    if can_be_read({key: value}, tmp_path_factory.mktemp("shop")):
        assert is_valid({key: value})


def test_editors_are_told_what_a_variable_is() -> None:
    assert definition("SHOP_MOST") == {
        "title": "SHOP_MOST",
        "description": "Customers at once. At least 1. At most 99. Default: 4.",
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 99,
        "pattern": r"^\s*(?:[+-]?[0-9][0-9_]*)\s*$|\$\{",
        "default": 4,
        "x-reload": True,
    }
    assert definition("SHOP_WAIT")["default"] == "250ms"
    assert definition("SHOP_GOODS")["default"] == ["eggs", "milk"]
    assert definition("SHOP_PAUSES")["default"] == ["1m", "500ms"]
    assert definition("SHOP_HOURS")["items"]["maximum"] == 24
    assert definition("SHOP_MOOD")["anyOf"][0] == {"enum": ["good", "bad", "true", True, None]}
    assert definition("SHOP_POLITE_WAIT")["description"] == (
        "More of it. At least 250ms. At most 2s. A plain number counts ms. Default: 500ms."
    )
    assert (definition("SHOP_POLITE_WAIT")["minimum"], definition("SHOP_POLITE_WAIT")["maximum"]) == (250, 2000)
    assert definition("STARTUP_TIMEOUT")["description"].endswith("Default: 300s in Kubernetes, else 60s.")
    assert "default" not in definition("STARTUP_TIMEOUT")


def test_what_no_file_may_set_is_not_offered() -> None:
    assert definition("LOG_LEVEL")
    for name in ("ENVIRONMENT", "CONFIG_DIR"):
        with pytest.raises(KeyError):
            definition(name)


def test_the_default_of_a_secret_is_not_told_and_the_name_of_its_file_is() -> None:
    assert definition("SHOP_TOKEN")["writeOnly"] is True
    assert definition("SHOP_TOKEN")["description"] == "Who may enter. Default: ******."
    assert definition("SHOP_TOKEN_FILE")["description"] == "Path of a file that holds the value of SHOP_TOKEN."
    assert "hunter2" not in json.dumps(SCHEMA)


def test_a_member_has_the_value_of_its_class() -> None:
    member = definition("SHOP_name_MOST")
    assert member["title"] == "SHOP_<NAME>_MOST"
    assert member["description"].endswith("Default: the value of SHOP_MOST.")
    assert "default" not in member


def test_files_of_a_module_have_a_schema_of_their_own(tmp_path: Path) -> None:
    validator = Draft202012Validator(json_schema(DECLARED, title="shop", module="shop"))
    assert {"business", "queue", "shop"} <= set(module_names(DECLARED))
    assert {"environment", "shops"}.isdisjoint(module_names(DECLARED)), "they have one word"
    for document, ok in (({"most": 5}, True), ({"most": "many"}, False), ({"east": {"most": "many"}}, False)):
        both = {"shops": ["east"]}
        assert is_valid(document, validator) is ok
        can_be_read(both, tmp_path)
        assert can_be_read(document, tmp_path, "shop/base.json") is ok


def test_the_schema_of_every_plugin_of_this_repository_is_one() -> None:
    plugins = Selection(names=("db", "cache", "monitoring", "k8s-watch"))
    runtime = Runtime(app=object(), selection=plugins, environ={"SERVICE_NAME": "all"})
    runtime.examine()
    schema = json_schema(runtime.declared, title="all")
    Draft202012Validator.check_schema(schema)
    for name in module_names(runtime.declared):
        Draft202012Validator.check_schema(json_schema(runtime.declared, title="all", module=name))
    validator = Draft202012Validator(schema)
    assert is_valid({"database": {"max_open_conns": 20, "orders": {"dsn": "${ORDERS}"}, "tls": True}}, validator)
    assert not is_valid({"database": {"max_open_conns": "x"}}, validator)
    assert not is_valid({"database": {"orders": {"max_open_conns": "x"}}}, validator)
