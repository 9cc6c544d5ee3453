"""Turns an error into what happened, why and what to do; plugins add theirs with `diagnose.register`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch

from eggycore.errors import ConfigError, ConfigProblem, ConfigRefused, EggycoreError, NotLeader

__all__ = [
    "Diagnosis",
    "capitalized",
    "diagnose",
    "did_you_mean",
    "explain",
    "nearest",
    "raised_at",
    "render",
    "summary",
]

_OWN = f"{os.path.dirname(__file__)}{os.sep}"  # noqa: PTH120 -- pathlib would be one more import for every start
_STANDARD_LIBRARY = f"{os.path.dirname(os.__file__)}{os.sep}"  # noqa: PTH120 -- likewise
_IN_ENVIRONMENT = re.compile(r"environment(, as |$)")
_PASSWORD_IN_URL = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a person is told about an error.

    Args:
        description: What happened, to what. One sentence.
        cause: Why, as far as it is known. Empty when the description says it all.
        action: What to do. One sentence, with the command where there is one.
        parts: The diagnoses of several problems that are reported together.
        warnings: Sentences on what else was noticed, shown below the parts.
    """

    description: str
    cause: str = ""
    action: str = ""
    parts: tuple[Diagnosis, ...] = ()
    warnings: tuple[str, ...] = ()


@singledispatch
def diagnose(error: BaseException) -> Diagnosis:
    """The diagnosis of an error; register one for your own error type with `@diagnose.register`."""
    return Diagnosis(description=summary(error), action="Run again with -v for the traceback.")


@diagnose.register
def _(error: ConfigError) -> Diagnosis:
    count = len(error.problems)
    return Diagnosis(
        description=f"The configuration has {count} problem{'s' if count != 1 else ''}.",
        parts=tuple(map(_config_problem, error.problems)),
        warnings=error.warnings,
    )


@diagnose.register
def _(error: NotLeader) -> Diagnosis:
    return Diagnosis(
        description="This replica does not lead.",  # a stranger may see it
        cause="What only the leader may do was asked of a replica that is not the leader now.",
        action="Do it in a service with leader_only=True or inside `async with leadership.lead()`.",
    )


@diagnose.register
def _(error: ConfigRefused) -> Diagnosis:
    reason = error.reason.rstrip(".")
    return Diagnosis(
        description="The new configuration was refused, and the old one stays.",
        cause=f"{capitalized(reason)}.",
        action="Take the change back, or restart with it.",
    )


def _config_problem(problem: ConfigProblem) -> Diagnosis:
    shown = f" {problem.value!r}" if problem.value is not None else ""
    where = problem.origin if not _IN_ENVIRONMENT.match(problem.origin) else f"the {problem.origin}"
    known = (f"it was set in {where}" if where else "", f"declared by {problem.owner}" if problem.owner else "")
    cause = ", ".join(part for part in known if part)
    return Diagnosis(
        description=f"{problem.key}{shown}: {problem.reason}.",
        cause=f"{capitalized(cause)}." if cause else "",
        action=problem.action,
    )


def summary(error: BaseException) -> str:
    """Type and text of an error on one line, with the passwords of URLs masked."""
    name = type(error).__name__
    if isinstance(error, EggycoreError) and type(error).__str__ is EggycoreError.__str__:
        return name if diagnose.dispatch(type(error)) is diagnose.dispatch(object) else diagnose(error).description
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    text = _PASSWORD_IN_URL.sub(r"\1***@", " ".join(text.split()))
    return f"{name}: {text}" if text else name


def raised_at(error: BaseException) -> str:
    """The innermost line outside eggycore and Python's own library: "/srv/app.py, line 3"; "" when there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    place = ""
    trace = error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if not _is_machinery(filename):
            place = f"{filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _is_machinery(filename: str) -> bool:
    if filename.startswith(("<frozen ", _OWN)):
        return True
    return filename.startswith(_STANDARD_LIBRARY) and f"-packages{os.sep}" not in filename


def capitalized(text: str) -> str:
    """The text with its first letter in upper case and the rest as it is."""
    return text[:1].upper() + text[1:]


def render(diagnosis: Diagnosis) -> str:
    """The diagnosis as lines for a terminal; no trailing newline."""
    if diagnosis.parts:
        numbered = [_numbered(number, part) for number, part in enumerate(diagnosis.parts, 1)]
        warnings = "\n".join(f"warning: {warning}" for warning in diagnosis.warnings)
        return "\n\n".join([diagnosis.description, *numbered, *([warnings] if warnings else [])])
    lines = [diagnosis.description]
    if diagnosis.cause:
        lines.append(f"  cause:  {diagnosis.cause}")
    if diagnosis.action:
        lines.append(f"  action: {diagnosis.action}")
    return "\n".join(lines)


def explain(error: BaseException) -> str:
    """The diagnosis of an error as lines, with the notes that say where it happened."""
    notes = [f"  where:  {note}" for note in getattr(error, "__notes__", ())]
    return "\n".join([render(diagnose(error)), *notes])


def _numbered(number: int, part: Diagnosis) -> str:
    prefix = f"{number}. "
    return prefix + render(part).replace("\n", "\n" + " " * len(prefix))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The text " Did you mean 'x'?" with a leading space, or "" when nothing is near."""
    near = nearest(word, known)
    return f" Did you mean {near!r}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like this one, or "" when nothing is near."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")
