"""Turns an error into what happened, why and what to do; plugins add theirs with `diagnose.register`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch

from eggycore.errors import ConfigError, ConfigProblem, EggycoreError

__all__ = ["Diagnosis", "diagnose", "did_you_mean", "render"]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a person is told about an error.

    Args:
        description: What happened, to what. One sentence.
        cause: Why, as far as it is known. Empty when the description says it all.
        action: What to do. One sentence, with the command where there is one.
        parts: The diagnoses of several problems that are reported together.
    """

    description: str
    cause: str = ""
    action: str = ""
    parts: tuple[Diagnosis, ...] = ()


@singledispatch
def diagnose(error: BaseException) -> Diagnosis:
    """The diagnosis of an error; register one for your own error type with `@diagnose.register`."""
    text = "" if isinstance(error, EggycoreError) else " ".join(str(error).split())
    name = type(error).__name__
    return Diagnosis(
        description=f"{name}: {text}" if text else name,
        action="Run again with -v for the traceback.",
    )


@diagnose.register
def _(error: ConfigError) -> Diagnosis:
    count = len(error.problems)
    return Diagnosis(
        description=f"The configuration has {count} problem{'s' if count != 1 else ''}.",
        parts=tuple(map(_config_problem, error.problems)),
    )


def _config_problem(problem: ConfigProblem) -> Diagnosis:
    shown = f" {problem.value!r}" if problem.value is not None else ""
    where = "the environment" if problem.origin == "environment" else problem.origin
    known = (f"it was set in {where}" if where else "", f"declared by {problem.owner}" if problem.owner else "")
    cause = ", ".join(part for part in known if part)
    return Diagnosis(
        description=f"{problem.key}{shown}: {problem.reason}.",
        cause=f"{cause[0].upper()}{cause[1:]}." if cause else "",
        action=problem.action,
    )


def render(diagnosis: Diagnosis) -> str:
    """The diagnosis as lines for a terminal; no trailing newline."""
    if diagnosis.parts:
        numbered = [_numbered(number, part) for number, part in enumerate(diagnosis.parts, 1)]
        return "\n\n".join([diagnosis.description, *numbered])
    lines = [diagnosis.description]
    if diagnosis.cause:
        lines.append(f"  cause:  {diagnosis.cause}")
    if diagnosis.action:
        lines.append(f"  action: {diagnosis.action}")
    return "\n".join(lines)


def _numbered(number: int, part: Diagnosis) -> str:
    prefix = f"{number}. "
    return prefix + render(part).replace("\n", "\n" + " " * len(prefix))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The text " Did you mean 'x'?" with a leading space, or "" when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
