"""What the text of each type of variable stands for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Duration, Secret, Settings, Size, env, read_from_env
from eggycore.errors import ConfigError


class Everything(Settings):
    text: str = env("TEXT", default="x")
    note: str = env("NOTE", default="", allow_empty=True)
    whole: int = env("WHOLE", default=1)
    number: float = env("NUMBER", default=1.5)
    flag: bool = env("FLAG", default=False)
    wait: Duration = env("WAIT", default=5.0)
    every: float = env("EVERY", default=0.5, unit="ms")
    size: Size = env("SIZE", default=1024)
    log_size: Size = env("LOG_SIZE", default=1024, unit="MB")
    words: tuple[str, ...] = env("WORDS", default=("a",))
    level: Literal["low", "High"] = env("LEVEL", default="low")
    folder: Path = env("FOLDER", default=Path("/tmp"))
    token: Secret[str] | None = env("TOKEN", default=None)
    maybe: int | None = env("MAYBE", default=5)


def read(key: str, text: str) -> object:
    settings = read_from_env(Everything, {key: text})
    return getattr(settings, key.lower())


def reason(key: str, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_from_env(Everything, {key: text})
    (problem,) = caught.value.problems
    return problem.reason


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("TEXT", " a b ", " a b "),
        ("NOTE", "", ""),
        ("WHOLE", " -7 ", -7),
        ("NUMBER", "2.5e3", 2500.0),
        ("FLAG", "true", True),
        ("FLAG", "Yes", True),
        ("FLAG", "ON", True),
        ("FLAG", " 1 ", True),
        ("FLAG", "False", False),
        ("FLAG", "off", False),
        ("FLAG", "0", False),
        ("WAIT", "250ms", 0.25),
        ("EVERY", "250", 0.25),
        ("EVERY", "2s", 2.0),
        ("SIZE", "64KiB", 65536),
        ("LOG_SIZE", "10", 10_000_000),
        ("WORDS", "a, b ,,c", ("a", "b", "c")),
        ("WORDS", "", ()),
        ("LEVEL", "HIGH", "High"),
        ("FOLDER", "/var/lib", Path("/var/lib")),
        ("TOKEN", "x", Secret("x")),
        ("TOKEN", "", None),
        ("MAYBE", "", None),
        ("MAYBE", "0", 0),
    ],
)
def test_a_text_stands_for_a_value(key: str, text: str, value: object) -> None:
    assert read(key, text) == value


@pytest.mark.parametrize(
    ("key", "text", "why"),
    [
        ("TEXT", "", "empty"),
        ("WHOLE", "7.0", "not a whole number"),
        ("WHOLE", "9" * 5000, "not a whole number"),
        ("NUMBER", "nan", "not a number"),
        ("NUMBER", "-inf", "not a number"),
        ("NUMBER", "1e999", "not a number"),
        ("FLAG", "maybe", "not true or false"),
        ("WAIT", "5", "a duration without a unit"),
        ("WAIT", "five", "not a duration"),
        ("SIZE", "5", "a size without a unit"),
        ("SIZE", "big", "not a size"),
        ("LEVEL", "middle", "not one of the choices"),
        ("FOLDER", " ", "empty"),
        ("TOKEN", "\udcff", "not UTF-8"),
    ],
)
def test_a_text_that_stands_for_no_value_is_refused(key: str, text: str, why: str) -> None:
    assert reason(key, text) == why


@given(st.integers(-(10**30), 10**30))
def test_every_whole_number_is_read(number: int) -> None:
    assert read("WHOLE", str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read(number: float) -> None:
    found = read("NUMBER", repr(number))
    assert isinstance(found, float) and math.isclose(found, number, rel_tol=0)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_a_text_is_taken_as_it_is(text: str) -> None:
    assert read("TEXT", text) == text


@given(st.lists(st.text(st.characters(categories=["L", "Nd"]), min_size=1)))
def test_words_are_separated_by_commas(words: list[str]) -> None:
    assert read("WORDS", " , ".join(words)) == tuple(words)


@given(st.text(), st.sampled_from([variable.key for variable in Everything.__variables__]))
def test_any_text_is_a_value_or_one_problem(text: str, key: str) -> None:
    try:
        read(key, text)
    except ConfigError as error:
        (problem,) = error.problems
        assert problem.key == key and problem.action
