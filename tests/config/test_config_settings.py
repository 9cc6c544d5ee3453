"""Declaring settings: a class of variables becomes a frozen dataclass, and a contradiction is refused at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from eggycore.config import Duration, Facts, Secret, Settings, Size, env


class Tick(Settings):
    every: float = env("TICK_EVERY", default=0.1, ge=0.01, unit="s", doc="Time between ticks.")
    name: str = env("TICK_NAME")
    loud: bool = env("TICK_LOUD", default=lambda facts: facts.terminal)
    limit: ClassVar[int] = 3

    def double(self) -> float:
        return self.every * 2


def test_settings_are_frozen_keyword_only_values() -> None:
    tick = Tick(name="a", loud=True)
    assert tick == Tick(every=0.1, name="a", loud=True)
    assert tick.double() == 0.2
    assert repr(tick) == "Tick(every=0.1, name='a', loud=True)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        tick.name = "b"
    with pytest.raises(TypeError):
        Tick("a")
    with pytest.raises(TypeError, match="name"):
        Tick()


def test_a_subclass_has_the_variables_of_its_base_first() -> None:
    class Tock(Tick):
        volume: int = env("TOCK_VOLUME", default=3)

    assert [variable.key for variable in Tock.__variables__] == ["TICK_EVERY", "TICK_NAME", "TICK_LOUD", "TOCK_VOLUME"]
    assert Tock(name="a").volume == 3


def test_a_float_with_a_unit_of_time_is_a_duration() -> None:
    kinds = {variable.key: variable.kind.base for variable in Tick.__variables__}
    assert kinds == {"TICK_EVERY": "duration", "TICK_NAME": "text", "TICK_LOUD": "boolean"}


def test_every_type_of_the_reference_can_be_declared() -> None:
    class Everything(Settings):
        text: str = env("T_TEXT", default="x")
        whole: int = env("T_WHOLE", default=1)
        number: float = env("T_NUMBER", default=1.5)
        flag: bool = env("T_FLAG", default=False)
        wait: Duration = env("T_WAIT", default=5.0)
        size: Size = env("T_SIZE", default=1024)
        words: tuple[str, ...] = env("T_WORDS", default=("a", "b"))
        level: Literal["low", "high"] = env("T_LEVEL", default="low")
        colour: str = env("T_COLOUR", default="red", choices=("red", "blue"))
        folder: Path = env("T_FOLDER", default=Path("/tmp"))
        token: Secret[str] = env("T_TOKEN", default="x")
        maybe: Duration | None = env("T_MAYBE", default=None)

    names = [variable.kind.name for variable in Everything.__variables__]
    assert names == [
        "text",
        "whole number",
        "number",
        "true or false",
        "duration",
        "size",
        "list of words",
        "choice",
        "choice",
        "path",
        "secret text",
        "duration",
    ]


def test_a_field_without_env_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Stray\.colour is not declared with env\(\.\.\.\)$"):

        class Stray(Settings):
            colour: str = "red"


def test_a_variable_without_an_annotation_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Bare\.colour has no annotation, and so no type$"):

        class Bare(Settings):
            colour = env("COLOUR")


def test_a_type_that_no_variable_can_have_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"Odd\.sizes \(SIZES\): no variable can have the type list\[int\]; the types are str,"
    ):

        class Odd(Settings):
            sizes: list[int] = env("SIZES")


def test_an_annotation_that_does_not_exist_at_run_time_is_refused() -> None:
    with pytest.raises(TypeError, match="has the annotation 'Nowhere', which is not a name of its module at run time"):

        class Lost(Settings):
            place: Nowhere = env("PLACE")  # noqa: F821 - the mistake that is tested


@pytest.mark.parametrize("key", ["lower", "1A", "A-B", "", "A B", "É"])
def test_a_name_that_is_no_variable_name_is_refused(key: str) -> None:
    with pytest.raises(TypeError, match="is not a variable name: upper-case letters, digits and underscores"):
        env(key)


def test_a_default_that_breaks_its_own_limits_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Small\.count \(COUNT\): the default is less than 5$"):

        class Small(Settings):
            count: int = env("COUNT", default=3, ge=5)

    with pytest.raises(TypeError, match=r"Typed\.count \(COUNT\): the default is not a whole number$"):

        class Typed(Settings):
            count: int = env("COUNT", default="3")

    with pytest.raises(TypeError, match=r"Chosen\.level \(LEVEL\): the default is not one of the choices$"):

        class Chosen(Settings):
            level: Literal["low", "high"] = env("LEVEL", default="middle")


def test_a_unit_that_does_not_fit_the_type_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"Slow\.wait \(WAIT\): the unit of a duration is one of us, ms, s, m, h, d, not 'MB'"
    ):

        class Slow(Settings):
            wait: Duration = env("WAIT", unit="MB")


def test_a_list_of_ports_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Doors\.ports \(PORTS\): a port is an int$"):

        class Doors(Settings):
            ports: tuple[int, ...] = env("PORTS", default=(), listens="business")


@pytest.mark.parametrize(
    ("default", "reason"), [((0,), "has a word that is less than 1"), (("a",), "has a word that is not a whole number")]
)
def test_the_default_of_a_list_is_checked_word_by_word(default: object, reason: str) -> None:
    with pytest.raises(TypeError, match=rf"Shelf\.sizes \(SIZES\): the default is {reason}$"):

        class Shelf(Settings):
            sizes: tuple[int, ...] = env("SIZES", default=default, ge=1)


def test_a_tuple_that_is_no_list_is_refused() -> None:
    known = r"str, int, float, bool, Duration, Size, Url, Path, Literal\[...\], tuple\[...\] of one of these"
    with pytest.raises(TypeError, match=rf"no variable can have the type tuple\[int, int\]; the types are {known}"):

        class Pair(Settings):
            pair: tuple[int, int] = env("PAIR", default=(1, 2))


def test_a_port_that_is_no_int_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Door\.port \(PORT\): a port is an int$"):

        class Door(Settings):
            port: str = env("PORT", listens="business")


def test_choices_are_for_text_only() -> None:
    with pytest.raises(TypeError, match=r"Few\.count \(COUNT\): choices are for a str$"):

        class Few(Settings):
            count: int = env("COUNT", choices=("1", "2"))

    with pytest.raises(TypeError, match=r"a Literal of a setting holds strings only$"):

        class Fewer(Settings):
            count: Literal[1, 2] = env("COUNT")


def test_a_default_may_depend_on_where_the_process_runs() -> None:
    loud = Tick.__variables__[2]
    assert loud.default_for(Facts(terminal=True)) is True
    assert loud.default_for(Facts(terminal=False)) is False
    assert loud.default_shown == "computed"
