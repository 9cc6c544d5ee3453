"""What the text of each type of variable stands for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Duration, Secret, Settings, Size, Url, env, read_from_env
from eggycore.config.urls import masked_url
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
    link: Url = env("LINK", default="https://host/path")
    ports: tuple[int, ...] = env("PORTS", default=(1,), ge=0, le=9)
    numbers: tuple[float, ...] = env("NUMBERS", default=())
    waits: tuple[Duration, ...] = env("WAITS", default=())
    steps: tuple[float, ...] = env("STEPS", default=(0.5,), unit="ms")
    sizes: tuple[Size, ...] = env("SIZES", default=())
    flags: tuple[bool, ...] = env("FLAGS", default=())
    levels: tuple[Literal["low", "High"], ...] = env("LEVELS", default=())
    folders: tuple[Path, ...] = env("FOLDERS", default=())
    links: tuple[Url, ...] = env("LINKS", default=())
    keys: Secret[tuple[str, ...]] = env("KEYS", default=())
    perhaps: tuple[int, ...] | None = env("PERHAPS", default=None)


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
        ("LINK", " http://u:p@[::1]:80/x?y=z#a ", "http://u:p@[::1]:80/x?y=z#a"),
        ("PORTS", "1, 2,,3", (1, 2, 3)),
        ("PORTS", " ", ()),
        ("NUMBERS", "1,2.5e3", (1.0, 2500.0)),
        ("WAITS", "250ms, 1h30m", (0.25, 5400.0)),
        ("STEPS", "250,2s", (0.25, 2.0)),
        ("SIZES", "64KiB,1MB", (65536, 1_000_000)),
        ("FLAGS", "yes,0", (True, False)),
        ("LEVELS", "LOW,high", ("low", "High")),
        ("FOLDERS", "/a, b", (Path("/a"), Path("b"))),
        ("LINKS", "amqp://a,nats://b:4222", ("amqp://a", "nats://b:4222")),
        ("KEYS", "a,b", Secret(("a", "b"))),
        ("PERHAPS", "1", (1,)),
        ("PERHAPS", "", None),
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
        ("LINK", "host/path", "not a URL: it does not begin with a scheme such as https://"),
        ("LINK", "https:///path", "not a URL: it has no host"),
        ("LINK", "https://h:x/", "not a URL: its host or port cannot be read"),
        ("LINK", "https://h:/", "not a URL: its host or port cannot be read"),
        ("LINK", "https://[::1/", "not a URL: its host or port cannot be read"),
        ("LINK", "https://h/a b", "not a URL: it holds a space or a control character"),
        ("PORTS", "1,two", "has a word that is not a whole number"),
        ("PORTS", "1,10", "has a word that is more than 9"),
        ("WAITS", "1s,5", "has a word that is a duration without a unit"),
        ("LEVELS", "low,middle", "has a word that is not one of the choices"),
        ("LINKS", "a://b,c", "has a word that is not a URL: it does not begin with a scheme such as https://"),
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host:8080/a:b", "https://host:8080/a:b"),
        ("https://user@host:80/", "https://user@host:80/"),
        ("https://user@host:80/a@b", "https://user@host:******@b"),
        ("https://us@er:hunter2@host/", "https://us@er:******@host/"),
        ("https://user:hunter2@host/x", "https://user:******@host/x"),
        ("https://user:hun:ter/2@host/x", "https://user:******@host/x"),
        ("https://user:hun@ter2@host/x", "https://user:******@host/x"),
        ("//user:hunter2@host", "//user:******@host"),
        ("user:hunter2@host", "user:******@host"),
        ("https:user:hunter2@host", "https:******@host"),
        ("https://:hunter2@host", "https://:******@host"),
        ("nothing", "nothing"),
    ],
)
def test_a_password_in_what_is_or_was_to_be_a_url_is_masked(text: str, shown: str) -> None:
    assert masked_url(text) == shown


@given(st.from_regex(r"[^@\s\x00-\x1f\x7f]*hunter2[^\s\x00-\x1f\x7f]*", fullmatch=True))
def test_no_password_of_a_url_is_shown(password: str) -> None:
    url = f"https://user:{password}@host/x"
    assert "hunter2" not in masked_url(url)


def test_a_url_is_shown_without_its_password_wherever_it_is_shown() -> None:
    variables = {variable.key: variable for variable in Everything.__variables__}
    assert variables["LINK"].shown("https://u:hunter2@h/") == "https://u:******@h/"
    assert variables["LINKS"].shown(("https://u:hunter2@h/", "https://h")) == "https://u:******@h/,https://h"
    with pytest.raises(ConfigError) as caught:
        read_from_env(Everything, {"LINK": "http:/u:hunter2@h", "LINKS": "https://u:hunter2@h:x,u:hunter3@h"})
    assert [problem.value for problem in caught.value.problems] == [
        "http:******@h",
        "https://u:******@h:x,u:******@h",
    ]


@pytest.mark.parametrize(
    ("key", "type_name", "expected"),
    [
        ("LINK", "URL", "a URL such as https://host/path"),
        ("PORTS", "list of whole numbers", "whole numbers separated by commas, each from 0 to 9"),
        ("WAITS", "list of durations", "durations such as 250ms,5s,5m"),
        ("LEVELS", "list of choices", "some of low, High"),
        ("KEYS", "secret list of words", "words separated by commas"),
    ],
)
def test_a_type_says_what_can_be_written(key: str, type_name: str, expected: str) -> None:
    variable = next(variable for variable in Everything.__variables__ if variable.key == key)
    assert (variable.type_name, variable.expected) == (type_name, expected)


@given(st.lists(st.floats(0, 1e6).map(lambda number: round(number, 3))).map(tuple))
def test_what_is_written_of_a_list_is_read_back(waits: tuple[float, ...]) -> None:
    variable = next(variable for variable in Everything.__variables__ if variable.key == "WAITS")
    assert read("WAITS", variable.written(waits)) == waits


@pytest.mark.parametrize("wrong", [1, [1], ("a",), (1, "a"), (10,), (None,), (True,)])
def test_a_list_made_in_code_is_checked_word_by_word(wrong: object) -> None:
    variable = next(variable for variable in Everything.__variables__ if variable.key == "PORTS")
    assert variable.wrong(wrong) is not None
    assert variable.wrong((0, 9)) is None


@given(st.text(), st.sampled_from([variable.key for variable in Everything.__variables__]))
def test_any_text_is_a_value_or_one_problem(text: str, key: str) -> None:
    try:
        read(key, text)
    except ConfigError as error:
        (problem,) = error.problems
        assert problem.key == key and problem.action
