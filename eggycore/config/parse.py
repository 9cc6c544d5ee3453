"""Turns texts into values, through environs. Importing it costs 10 to 40 ms: only a reading that needs it does.

Most of that is marshmallow, under environs; since its version 4.2.4 one regular expression takes 27 ms to compile.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import environs

from eggycore.config.kinds import Base
from eggycore.config.units import parse_duration, parse_size
from eggycore.config.urls import check_url
from eggycore.config.variable import Variable

__all__ = ["Parser"]

_REASONS: dict[Base, str] = {
    "integer": "not a whole number",
    "number": "not a number",
    "boolean": "not true or false",
}


class Parser:
    """Parses the text of variables, one by one. For one reading, in one thread."""

    def __init__(self) -> None:
        self._env = _LayeredEnv()

    def parse(self, variable: Variable, text: str) -> object:
        """The value that the text stands for; limits are not looked at.

        Raises:
            ValueError: It stands for none; the message says why, without the text.
        """
        if not _is_unicode(text):
            raise ValueError("not UTF-8")
        if variable.kind.many:
            if not text.strip() and variable.kind.optional and not variable.allow_empty:
                return None
            return variable.wrapped(tuple(self._word(variable, word) for word in text.split(",") if word.strip()))
        if not text.strip() and not variable.allow_empty:
            if variable.kind.optional:
                return None
            raise ValueError("empty")
        return variable.wrapped(self._one(variable, text))

    def _word(self, variable: Variable, word: str) -> object:
        try:
            return self._one(variable, word.strip())
        except ValueError as error:
            raise ValueError(f"has a word that is {error}") from None

    def _one(self, variable: Variable, text: str) -> object:
        self._env.texts[variable.key] = text if variable.kind.base == "text" else text.strip()
        try:
            return self._parsed(variable)
        except environs.EnvValidationError as error:
            raise ValueError(_REASONS.get(variable.kind.base) or _first(error)) from None

    def _parsed(self, variable: Variable) -> object:
        env, key = self._env, variable.key
        match variable.kind.base:
            case "text" | "words":
                return env.str(key)
            case "integer":
                return env.int(key)
            case "number":
                return env.float(key)
            case "boolean":
                return env.bool(key)
            case "path":
                return env.path(key)
            case "url":
                return env.url_text(key)
            case "choice":
                return env.choice(key, choices=variable.kind.choices)
            case "duration":
                return env.duration(key, unit=variable.unit)
            case "size":
                return env.size(key, unit=variable.unit)


class _LayeredEnv(environs.Env):
    """environs over texts that were found in our layers: it sees neither the process environment nor a file."""

    def __init__(self) -> None:
        super().__init__(eager=True)
        self.texts: builtins.dict[builtins.str, builtins.str] = {}
        self.add_parser("choice", _choice)
        self.add_parser("url_text", _url)
        self.add_parser("duration", _explained(parse_duration))
        self.add_parser("size", _explained(parse_size))

    def _get_value(self, env_key: builtins.str, default: Any) -> Any:
        return self.texts.get(env_key, default)


def _first(error: environs.EnvValidationError) -> str:
    return next(iter(error.error_messages))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _choice(text: str, choices: tuple[str, ...]) -> str:
    by_lower = {choice.lower(): choice for choice in choices}
    try:
        return by_lower[text.lower()]
    except KeyError:
        raise environs.ValidationError("not one of the choices") from None


def _url(text: str) -> str:
    reason = check_url(text)
    if reason is not None:
        raise environs.ValidationError(reason)
    return text


def _explained(parse: Callable[[str, str | None], object]) -> Callable[[str, str | None], object]:
    def parser(text: str, unit: str | None) -> object:
        try:
            return parse(text, unit)
        except ValueError as error:
            raise environs.ValidationError(str(error)) from None

    return parser
