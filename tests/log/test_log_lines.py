from __future__ import annotations

import dataclasses
import datetime
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore import log
from eggycore.config import Secret
from eggycore.log.lines import Lines

LINES = Lines({"service": "forms", "environment": "test"})


def rendered(message: str, /, **fields: object) -> dict[str, Any]:
    line = LINES.line(20, message, fields)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return orjson.loads(line)


def test_a_line_begins_with_when_how_grave_and_what() -> None:
    line = Lines({"service": "forms", "environment": "test", "pod": "forms-0"}, clock=lambda: 1_767_225_599.0429)
    assert line.line(20, "form stored", {"form": 7}) == (
        b'{"timestamp":"2025-12-31T23:59:59.042Z","level":"info","message":"form stored",'
        b'"service":"forms","environment":"test","pod":"forms-0","form":7}\n'
    )


def test_the_second_of_the_timestamp_changes_with_the_clock() -> None:
    now = [1_767_225_599.999]
    lines = Lines({}, clock=lambda: now[0])
    before = orjson.loads(lines.line(20, "x", {}))["timestamp"]
    now[0] += 0.001
    after = orjson.loads(lines.line(20, "x", {}))["timestamp"]
    assert (before, after) == ("2025-12-31T23:59:59.999Z", "2026-01-01T00:00:00.000Z")


def test_a_line_is_rendered_with_the_current_time() -> None:
    before = datetime.datetime.now(datetime.UTC)
    stamp = rendered("x")["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert abs(datetime.datetime.fromisoformat(stamp) - before) < datetime.timedelta(seconds=60)


def test_a_field_cannot_replace_what_every_line_has() -> None:
    line = rendered("x", level="high", service="mine", timestamp=1, message="m", environment="e")
    assert (line["level"], line["service"], line["message"]) == ("info", "forms", "x")
    assert (line["level_"], line["service_"], line["timestamp_"], line["message_"]) == ("high", "mine", 1, "m")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Path("/srv/forms"), "/srv/forms"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        (2**64, "18446744073709551616"),
        (float("nan"), None),
        ("lone \ud800 surrogate", "lone \\ud800 surrogate"),
        ({1: {2: "deep"}}, {"1": {"2": "deep"}}),
        ({3}, [3]),
        (ValueError("no"), "ValueError: no"),
        (object, "<class 'object'>"),
    ],
)
def test_any_value_makes_a_line(value: object, shown: object) -> None:
    assert rendered("x", field=value)["field"] == shown


def test_one_value_that_json_refuses_costs_no_other() -> None:
    line = rendered("x", huge=2**70, form=7, title="t")
    assert (line["huge"], line["form"], line["title"]) == (str(2**70), 7, "t")


def test_an_object_whose_text_fails_still_makes_a_line() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    assert rendered("x", field=Broken())["field"] == "<Broken: __str__ raised RuntimeError>"


class Failing(dict[str, object]):
    def items(self) -> Any:
        raise RuntimeError


class FailingText:
    def __str__(self) -> str:
        raise RuntimeError


class Proxy:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("working outside of a request")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Failing(), "<Failing: reading it raised RuntimeError>"),
        ({FailingText(): 1}, "<dict: reading it raised RuntimeError>"),
        (Proxy(), "<Proxy: reading it raised RuntimeError>"),
        ([Proxy()], "<list: reading it raised RuntimeError>"),
    ],
    ids=["mapping", "key", "proxy", "proxy in a list"],
)
def test_a_value_that_cannot_be_read_still_makes_a_line(value: object, shown: str) -> None:
    for name in ("unreadable", "unreadable"):  # the second time the name is known
        assert rendered("x", **{name: value})["unreadable"] == shown


def test_a_dataclass_that_is_not_complete_yet_shows_what_it_has() -> None:
    @dataclass
    class Order:
        number: int
        paid: bool = field(init=False)

    assert rendered("x", order=Order(7))["order"] == {"number": 7}


def test_a_text_as_exception_is_a_field() -> None:
    assert rendered("x", exc="refused")["exc"] == "refused"
    assert rendered("x", exc=ValueError("refused"))["exception"]["message"] == "refused"


def test_a_cycle_ends() -> None:
    cycle: dict[str, object] = {}
    cycle["self"] = cycle
    assert "..." in orjson.dumps(rendered("x", field=cycle)).decode()


def test_a_message_that_is_no_text_is_made_one() -> None:
    assert rendered(ValueError("no"))["message"] == "no"


def test_secrets_are_masked_in_dataclasses_and_secret_objects() -> None:
    @dataclasses.dataclass
    class Account:
        user: str
        password: str
        dsn: Secret[str]

    line = rendered("x", account=Account("ann", "s3cret", Secret("s3cret")), value=Secret("s3cret"))
    assert line["account"] == {"user": "ann", "password": "******", "dsn": "******"}
    assert line["value"] == "******"


def test_a_dataclass_that_middleware_put_into_the_context_is_masked() -> None:
    @dataclasses.dataclass
    class Caller:
        name: str
        token: str

    reset = log.CONTEXT.set({"caller": Caller("ann", "s3cret")})
    try:
        assert rendered("x")["caller"] == {"name": "ann", "token": "******"}
    finally:
        log.CONTEXT.reset(reset)


def test_a_field_named_like_a_secret_is_masked_every_time() -> None:
    assert [rendered("x", password="s3cret")["password"] for _ in range(2)] == ["******", "******"]


def test_an_exception_becomes_data_without_local_variables() -> None:
    def store(title: str) -> None:
        raise ValueError("too long")

    try:
        store("never-in-a-line")
    except ValueError as error:
        raw = LINES.line(40, "not stored", {"exc": error})
    exception = orjson.loads(raw)["exception"]
    assert (exception["type"], exception["message"]) == ("ValueError", "too long")
    assert [frame["function"].rpartition(".")[2] for frame in exception["frames"]] == [
        "test_an_exception_becomes_data_without_local_variables",
        "store",
    ]
    assert exception["frames"][1].keys() == {"file", "line", "function"}
    assert b"never-in-a-line" not in raw


def test_exc_info_is_understood_as_the_standard_library_does() -> None:
    try:
        raise KeyError("k")
    except KeyError as error:
        shown = [rendered("x", exc_info=value)["exception"]["type"] for value in (True, error, (KeyError, error, None))]
    assert shown == ["KeyError"] * 3
    assert "exception" not in rendered("x", exc_info=True)


def test_the_cause_and_the_members_of_a_group_are_kept() -> None:
    try:
        try:
            raise OSError("refused")
        except OSError as error:
            raise RuntimeError("no database") from error
    except RuntimeError as error:
        group = ExceptionGroup("two", [error, LookupError("x")])
    shown = rendered("x", exc=group)["exception"]
    assert [member["type"] for member in shown["exceptions"]] == ["RuntimeError", "LookupError"]
    assert shown["exceptions"][0]["cause"]["message"] == "refused"


def test_a_deep_traceback_and_a_long_chain_are_cut() -> None:
    def deep(left: int) -> None:
        if not left:
            raise ValueError
        deep(left - 1)

    with pytest.raises(ValueError, match=r"^$") as caught:
        deep(200)
    frames = rendered("x", exc=caught.value)["exception"]["frames"]
    assert len(frames) == 51
    assert frames[10]["function"] == "152 frames left out"

    chain = ValueError("0")
    for number in range(1, 30):
        error = ValueError(str(number))
        error.__cause__ = chain
        chain = error
    text = orjson.dumps(rendered("x", exc=chain)).decode()
    assert text.count('"type"') == 10


def test_an_exception_that_is_its_own_context_ends() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__context__, second.__context__ = second, first
    assert rendered("x", exc=first)["exception"]["context"]["message"] == "2"


def test_the_text_of_an_exception_is_masked() -> None:
    error = OSError("cannot reach postgres://app:s3cret@db/forms (password=s3cret)")
    assert rendered("x", exc=error)["exception"]["message"] == (
        "cannot reach postgres://app:******@db/forms (password=******)"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner),
    max_leaves=10,
)


@given(st.text(st.characters()), st.dictionaries(st.text(st.characters()), JSON))
def test_no_field_and_no_message_breaks_a_line(message: str, fields: dict[str, object]) -> None:
    line = LINES.line(20, message, fields)
    assert line.count(b"\n") == 1
    assert orjson.loads(line)["service"] == "forms"


def test_the_place_is_on_every_line(start_log: Any) -> None:
    file = start_log(place={"pod": "forms-0", "node": "n1", "namespace": "prod"})
    log.info("x")
    line = file.last()
    assert (line["pod"], line["node"], line["namespace"]) == ("forms-0", "n1", "prod")
