"""What a person is told about an error, and what is never told."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from eggycore.diagnostics import Diagnosis, capitalized, diagnose, did_you_mean, raised_at, render, summary
from eggycore.errors import CheckFailed, ConfigError, ConfigProblem, ConfigRefused, EggycoreError


@dataclass(eq=False)
class KettleEmpty(EggycoreError):
    """An error with a diagnosis of its own."""

    kettle: str


@diagnose.register
def _(error: KettleEmpty) -> Diagnosis:
    return Diagnosis(description=f"The {error.kettle} kettle is empty.", action="Fill it.")


class Undiagnosed(EggycoreError):
    """An error that nobody registered a diagnosis for."""


def test_an_error_reads_as_the_description_of_its_diagnosis() -> None:
    assert str(KettleEmpty("blue")) == "The blue kettle is empty."
    assert str(Undiagnosed()) == "Undiagnosed"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (KeyError(), "KeyError"),
        (KettleEmpty("blue"), "The blue kettle is empty."),
        (CheckFailed("nobody listens"), "CheckFailed: nobody listens"),
        (Undiagnosed(), "Undiagnosed"),
        (OSError("no route to amqp://app:hunter2@mq:5672/x"), "OSError: no route to amqp://app:***@mq:5672/x"),
        (OSError("redis://:hunter2@cache/0 is down"), "OSError: redis://:***@cache/0 is down"),
    ],
)
def test_a_summary_is_one_line_without_passwords(error: BaseException, text: str) -> None:
    assert summary(error) == text
    assert "hunter2" not in diagnose(error).description


def test_the_place_of_an_error_is_the_last_line_that_is_not_pythons_own() -> None:
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads("{")
    assert raised_at(raised.value) == f"{__file__}, line {raised.traceback[0].lineno + 1}"
    assert raised_at(ValueError()) == ""
    with pytest.raises(SyntaxError) as wrong:
        compile("a b", "kettle.py", "exec")
    assert raised_at(wrong.value) == "kettle.py, line 1"


def test_parts_are_numbered_and_indented() -> None:
    part = Diagnosis(description="One.", cause="Why.", action="Do.")
    assert (
        render(Diagnosis(description="Both.", parts=(part, Diagnosis(description="Two."))))
        == """\
Both.

1. One.
     cause:  Why.
     action: Do.

2. Two."""
    )


def test_a_problem_of_the_configuration_names_value_origin_and_owner() -> None:
    problem = ConfigProblem(
        key="PORT", reason="not a number", value="x", origin="environment", owner="eggycore", action="Set a number."
    )
    assert (
        render(diagnose(ConfigError((problem,))))
        == """\
The configuration has 1 problem.

1. PORT 'x': not a number.
     cause:  It was set in the environment, declared by eggycore.
     action: Set a number."""
    )


def test_a_guess_is_made_only_when_something_is_near() -> None:
    assert did_you_mean("chache", ["cache", "db"]) == " Did you mean 'cache'?"
    assert did_you_mean("tea", ["cache", "db"]) == ""
    assert capitalized("plugin DB") == "Plugin DB"
    assert capitalized("") == ""


def test_a_refused_configuration_says_why_and_what_to_do() -> None:
    assert render(diagnose(ConfigRefused("the pool is in use"))) == (
        "The new configuration was refused, and the old one stays.\n"
        "  cause:  The pool is in use.\n"
        "  action: Take the change back, or restart with it."
    )
