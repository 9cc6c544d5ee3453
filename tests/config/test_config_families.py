"""Families: the variables of a class once more for each member that another variable names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import (
    Configuration,
    Declared,
    Duration,
    Reloader,
    Secret,
    Settings,
    SettingsMissing,
    Sources,
    UnknownVariable,
    env,
    env_example,
    load,
    reference_markdown,
)
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError, ConfigProblem
from eggycore.types import Origin

DB = Origin("db", "eggycore-db", "0.1.0")


class Names(Settings):
    names: tuple[str, ...] = env("STORES", default=(), doc="Their names.")


class Store(Settings, family="STORES", prefix="STORE_"):
    dsn: Secret[str] = env("STORE_DSN", default="sqlite://", own=True, doc="Where.")
    wait: Duration = env("STORE_WAIT", default=5.0, reload=True, also=("DB_WAIT",), doc="Patience.")
    most: int = env("STORE_MOST", default=10, ge=1, le=100, doc="Connections.")
    idle: int = env("STORE_IDLE", default=2, reload=True, doc="Idle ones.")

    def problems(self) -> Iterable[ConfigProblem]:
        if self.idle > self.most:
            yield ConfigProblem(
                key="STORE_IDLE",
                value=str(self.idle),
                reason="more than STORE_MOST",
                action="Set it to at most STORE_MOST.",
            )


DECLARED = [Declared(Names, DB), Declared(Store, DB)]


def read(environ: dict[str, str] | None = None, folder: Path | None = None) -> Configuration:
    return load(DECLARED, Sources(environ or {}, folder))


def report(environ: dict[str, str], *more: Declared) -> str:
    with pytest.raises(ConfigError) as caught:
        load([*DECLARED, *more], Sources(environ, None))
    return render(diagnose(caught.value))


def test_each_member_has_the_variables_of_the_class_in_the_order_of_the_names() -> None:
    environ = {"STORES": "users,orders", "STORE_ORDERS_DSN": "a", "STORE_USERS_MOST": "7", "STORE_DSN": "own"}
    family = read(environ).family(Store)
    assert [(member, one.member, one.dsn.reveal(), one.most) for member, one in family.items()] == [
        ("users", "users", "sqlite://", 7),
        ("orders", "orders", "a", 10),
    ]
    assert all(isinstance(one, Store) for one in family.values())
    assert read(environ)[Store].member == ""


def test_a_family_without_members_is_empty() -> None:
    assert read().family(Store) == {}


def test_what_a_member_does_not_set_it_has_from_the_class_with_its_origin() -> None:
    configuration = read({"STORES": "orders", "STORE_MOST": "7", "DB_WAIT": "3s", "STORE_DSN": "x"})
    orders = configuration.family(Store)["orders"]
    assert (orders.most, orders.wait, orders.idle, orders.dsn.reveal()) == (7, 3.0, 2, "sqlite://")
    origins = {key: value.origin for key, value in configuration.values.items() if "ORDERS" in key}
    assert origins == {
        "STORE_ORDERS_DSN": "default",
        "STORE_ORDERS_WAIT": "environment, as DB_WAIT",
        "STORE_ORDERS_MOST": "environment, as STORE_MOST",
        "STORE_ORDERS_IDLE": "default",
    }


def test_settings_made_in_code_are_what_members_fall_back_to() -> None:
    given_ = [Names(names=("orders",)), Store(most=3)]
    configuration = load(DECLARED, Sources({"STORE_ORDERS_IDLE": "1"}, None), given=given_)
    assert configuration[Store].most == 3
    assert (configuration.family(Store)["orders"].most, configuration.family(Store)["orders"].idle) == (3, 1)
    assert configuration.values["STORE_ORDERS_MOST"].origin == "code, as STORE_MOST"


def test_a_variable_of_each_member_that_has_no_default_must_be_set_for_each() -> None:
    class Places(Settings, family="STORES", prefix="PLACE_"):
        path: str = env("PLACE_PATH", own=True, doc="Where.")

    text = report({"STORES": "orders,users", "PLACE_PATH": "a", "PLACE_ORDERS_PATH": "b"}, Declared(Places, DB))
    assert text == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. PLACE_USERS_PATH: required, and not set.\n"
        "     cause:  Declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it in the environment, in .env or with --set."
    )


def test_a_variable_of_the_class_that_is_missing_is_reported_once_for_all() -> None:
    class Places(Settings, family="STORES", prefix="PLACE_"):
        path: str = env("PLACE_PATH", doc="Where.")

    assert "has 1 problem.\n\n1. PLACE_PATH: required" in report({"STORES": "orders,users"}, Declared(Places, DB))


def test_a_file_may_hold_the_value_of_a_member(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("secret\n")
    configuration = read({"STORES": "orders", "STORE_ORDERS_DSN_FILE": "dsn"}, tmp_path)
    assert configuration.family(Store)["orders"].dsn.reveal() == "secret"


def test_a_wrong_value_of_a_member_is_reported_under_its_name() -> None:
    assert report({"STORES": "orders", "STORE_ORDERS_MOST": "0"}) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. STORE_ORDERS_MOST '0': less than 1.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to a whole number from 1 to 100."
    )


def test_what_a_member_says_of_itself_names_its_variables() -> None:
    assert report({"STORES": "orders", "STORE_ORDERS_IDLE": "20"}) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. STORE_ORDERS_IDLE '20': more than STORE_ORDERS_MOST.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to at most STORE_ORDERS_MOST."
    )


def test_a_problem_that_members_have_from_the_class_is_told_once() -> None:
    text = report({"STORES": "orders,users", "STORE_IDLE": "20", "STORE_USERS_IDLE": "30"})
    assert [line.split(":")[0] for line in text.splitlines() if "more than" in line] == [
        "1. STORE_IDLE '20'",
        "2. STORE_USERS_IDLE '30'",
    ]


def test_what_is_wrong_only_beside_a_members_own_value_is_told_of_the_member() -> None:
    text = report({"STORES": "orders", "STORE_IDLE": "8", "STORE_ORDERS_MOST": "7"})
    assert "has 1 problem.\n\n1. STORE_ORDERS_IDLE '8': more than STORE_ORDERS_MOST.\n" in text
    assert "It was set in the environment, as STORE_IDLE, declared by plugin db" in text


def test_a_wrong_name_is_told_once_whatever_the_number_of_classes() -> None:
    class Place(Settings, family="STORES", prefix="PLACE_"):
        path: str = env("PLACE_PATH", default="x")

    assert report({"STORES": "a,Orders"}, Declared(Place, DB)).startswith("The configuration has 1 problem.\n")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("Orders", "STORES 'Orders': not a name: a small letter, then small letters, digits and underscores."),
        ("7up", "STORES '7up': not a name: a small letter, then small letters, digits and underscores."),
        ("a-b", "STORES 'a-b': not a name: a small letter, then small letters, digits and underscores."),
        ("a,b,a", "STORES 'a': names 'a' twice."),
    ],
)
def test_a_name_that_no_member_can_have_is_a_problem(names: str, says: str) -> None:
    text = report({"STORES": names})
    assert text.startswith(f"The configuration has 1 problem.\n\n1. {says}\n     cause:  It was set in the environment")


def test_a_member_whose_variables_are_somebody_elses_is_a_problem() -> None:
    class Rival(Settings):
        most: int = env("STORE_ORDERS_MOST", default=1)

    assert report({"STORES": "orders"}, Declared(Rival, Origin("rival"))) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. STORES 'orders': with this name STORE_ORDERS_MOST has two meanings: that of STORE_MOST, and a variable of "
        "plugin rival.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Give it another name."
    )


def test_members_whose_variables_are_each_others_are_a_problem() -> None:
    class Place(Settings, family="STORES", prefix="PLACE_"):
        path: str = env("PLACE_PATH", default="x")
        more: str = env("PLACE_MORE_PATH", default="x")

    text = report({"STORES": "a,a_more"}, Declared(Place, DB))
    assert "1. STORES 'a_more': with this name PLACE_A_MORE_PATH has two meanings: that of PLACE_PATH, and " in text


def test_a_slip_in_a_members_variable_is_noticed() -> None:
    (near,) = read({"STORES": "orders", "STORE_ORDRES_DSN": "x"}).unknown
    assert near.meant == "STORE_ORDERS_DSN"


def test_an_explanation_of_a_members_variable_shows_what_the_class_has() -> None:
    configuration = read({"STORES": "orders", "STORE_ORDERS_WAIT": "1s", "STORE_WAIT": "2s", "DB_WAIT": "3s"})
    explanation = configuration.explain("STORE_ORDERS_WAIT")
    assert explanation.entry.inherits == "STORE_WAIT"
    assert [(said.shown, said.origin, said.chosen) for said in explanation.candidates] == [
        ("1s", "environment", True),
        ("2s", "environment, as STORE_WAIT", False),
        ("3s", "environment, as DB_WAIT", False),
        ("5s", "default", False),
    ]
    assert [entry.key for entry in configuration.entries()][-4:] == [
        "STORE_ORDERS_DSN",
        "STORE_ORDERS_WAIT",
        "STORE_ORDERS_MOST",
        "STORE_ORDERS_IDLE",
    ]


def test_who_asks_for_a_family_that_is_none_is_told_so() -> None:
    with pytest.raises(TypeError, match="Names is no family"):
        read().family(Names)
    alone = load([Declared(Store, DB)], Sources({}, None))
    assert alone[Store] == Store()
    with pytest.raises(UnknownVariable, match="STORES is not a variable"):
        alone.family(Store)
    with pytest.raises(SettingsMissing):
        load([], Sources({}, None)).family(Store)


@pytest.mark.parametrize(
    ("declaration", "says"),
    [(env("STORES", default="a"), "is no list of words"), (env("STORES", default=(), reload=True), "changes in a")],
)
def test_names_that_cannot_name_members_are_a_problem(declaration: object, says: str) -> None:
    kind = str if "no list" in says else tuple[str, ...]
    wrong = type("Wrong", (Settings,), {"__annotations__": {"names": kind}, "names": declaration})
    with pytest.raises(ConfigError) as caught:
        load([Declared(wrong, DB), Declared(Store, DB)], Sources({}, None))
    (problem,) = caught.value.problems
    assert problem.key == "STORES"
    assert problem.reason.startswith(f"named as the family of Store, but it {says}")


def test_declarations_that_cannot_be_a_family_are_refused() -> None:
    with pytest.raises(TypeError, match="OTHER_KEY does not begin with the prefix 'STORE_' of its family"):

        class Stray(Settings, family="STORES", prefix="STORE_"):
            key: str = env("OTHER_KEY", default="x")

    with pytest.raises(TypeError, match="STORE_NAMES names the members, so another class has to declare it"):

        class Self(Settings, family="STORE_NAMES", prefix="STORE_"):
            names: tuple[str, ...] = env("STORE_NAMES", default=())

    with pytest.raises(TypeError, match="STORE_PORT is a port, which members cannot share"):

        class Port(Settings, family="STORES", prefix="STORE_"):
            port: int = env("STORE_PORT", default=0, listens="business")

    with pytest.raises(TypeError, match="STORE_KEY is declared own=True, which is for families"):

        class Alone(Settings):
            key: str = env("STORE_KEY", default="x", own=True)


async def test_a_reload_changes_members_and_those_that_come_or_go_wait_for_a_restart() -> None:
    environ = {"STORES": "orders,users", "STORE_IDLE": "3", "STORE_USERS_IDLE": "1"}
    reloader = Reloader(read(environ), DECLARED)

    result = await reloader.reload(Sources({**environ, "STORE_IDLE": "4"}, None))
    assert (result.outcome, result.changed) == ("applied", {"STORE_IDLE", "STORE_ORDERS_IDLE"})
    family = reloader.current.family(Store)
    assert (family["orders"].idle, family["users"].idle, family["orders"].member) == (4, 1, "orders")

    moved = {"STORES": "orders,mail", "STORE_ORDERS_IDLE": "5", "STORE_IDLE": "4", "STORE_ORDERS_MOST": "9"}
    result = await reloader.reload(Sources(moved, None))
    assert (result.outcome, result.changed) == ("applied", {"STORE_ORDERS_IDLE"})
    assert result.pending == {"STORES", "STORE_ORDERS_MOST"}
    family = reloader.current.family(Store)
    assert list(family) == ["orders", "users"]
    assert (family["orders"].idle, family["users"].idle) == (5, 1)


def test_the_reference_shows_the_form_of_a_members_variable_and_no_member() -> None:
    text = reference_markdown(DECLARED)
    assert "| `STORE_DSN`<br>`STORE_<NAME>_DSN` | secret text | ****** |  | Where. Each name has its own. |" in text
    assert text.endswith(
        "\n\nFor each name in `STORES`, in capitals, there is a `STORE_<NAME>_X` for each `STORE_X`; one that is not "
        "set has the value of `STORE_X`, unless each name has its own."
    )
    assert "# plugin db (eggycore-db): Store\n# For each name in STORES, in capitals, there is" in env_example(DECLARED)


MEMBERS = ("a", "b_2")
KEYS = [f"STORE_{member}{part}" for member in ("", "A_", "B_2_") for part in ("MOST", "DSN")]


@given(
    st.lists(st.sampled_from(MEMBERS), unique=True),
    st.dictionaries(st.sampled_from(KEYS), st.integers(2, 100)),
)
def test_any_setting_of_any_members_agrees_with_the_rule(names: list[str], numbers: dict[str, int]) -> None:
    environ = {"STORES": ",".join(names), **{key: str(number) for key, number in numbers.items()}}
    configuration = read(environ)
    assert list(configuration.family(Store)) == names
    for name in ("", *names):
        settings = configuration.family(Store)[name] if name else configuration[Store]
        prefix = f"STORE_{name.upper()}_" if name else "STORE_"
        assert settings.most == numbers.get(f"{prefix}MOST", numbers.get("STORE_MOST", 10))
        assert settings.dsn.reveal() == str(numbers.get(f"{prefix}DSN", "sqlite://"))
        assert configuration.values[f"{prefix}MOST"].value == settings.most


@pytest.mark.parametrize("key", ["STORE_WEST_DSN", "STORE_WEST_DSN_FILE", "STORE_WEST_WAIT"])
@pytest.mark.parametrize("names", ["", "east,north"])
def test_a_variable_of_a_member_that_the_list_does_not_name_is_reported(key: str, names: str) -> None:
    configuration = read({key: "hunter2", "STORE_WAIT": "1s", "PATH": "/bin"} | ({"STORES": names} if names else {}))
    assert [str(one) for one in configuration.unknown] == [
        f"{key}, set in the environment, is not read: STORES does not name 'west'."
    ]


def test_a_slip_in_a_member_s_variable_is_reported_as_that_alone() -> None:
    configuration = read({"STORES": "east", "STORE_EASTT_DSN": "hunter2", "STORE_EAST_DNS": "x", "STORE_EAST_DSN": "x"})
    assert [one.key for one in configuration.unknown] == ["STORE_EASTT_DSN", "STORE_EAST_DNS"]
    assert all("Did you mean 'STORE_EAST_DSN'?" in str(one) for one in configuration.unknown)
