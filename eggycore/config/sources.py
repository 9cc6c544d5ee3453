"""Where values come from: layers, of which a later one wins over an earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eggycore.config.declared import FILE_SUFFIX
from eggycore.config.dotenv_file import DotenvFile, read_dotenv
from eggycore.errors import ConfigProblem

__all__ = ["APP_NAME", "COMMAND_LINE", "Found", "Layer", "Layers", "Sources", "Unreadable", "read_layers"]

APP_NAME = "the app's name"
COMMAND_LINE = "--set"

_FILE_LIMIT = 1_048_576
"""Bytes that a file named by KEY_FILE may hold."""


@dataclass(frozen=True)
class Sources:
    """Where to look for values. Never shows them.

    Args:
        environ: The process environment; it is read and never written.
        folder: Where .env is looked for, and what relative paths in KEY_FILE start from. None: there is no .env, and
            they start from the current folder.
        overrides: What the command line set with --set.
        defaults: Values that stand below every other source: SERVICE_NAME, from the app's name.
    """

    environ: Mapping[str, str] = field(repr=False)
    folder: Path | None
    overrides: Mapping[str, str] = field(default_factory=dict, repr=False)
    defaults: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Layer:
    """The values of one source, and the line of each when the source is a file."""

    origin: str
    values: Mapping[str, str] = field(repr=False)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    def origin_of(self, key: str) -> str:
        """Where exactly the key is set, for example ".env line 3"."""
        line = self.lines.get(key)
        return self.origin if line is None else f"{self.origin} line {line}"


@dataclass(frozen=True)
class Found:
    """A value that a layer sets, under which name: its text, or the file that holds it."""

    origin: str
    name: str
    text: str | None = field(default=None, repr=False)
    file: str | None = None

    def origin_of(self, key: str) -> str:
        """The origin of the value of `key`: the file, and where the file was named, when there is one.

        What was set under another name says so: "environment, as DB_HOST".
        """
        if self.file is not None:
            where = "the environment" if self.origin == "environment" else self.origin
            return f"{self.file} ({self.name}{FILE_SUFFIX} in {where})"
        return self.origin if self.name == key else f"{self.origin}, as {self.name}"


class Unreadable(Exception):
    """A value cannot be had from where it is set; `problem` says why."""

    def __init__(self, problem: ConfigProblem) -> None:
        super().__init__(problem.reason)
        self.problem = problem


@dataclass(frozen=True)
class Layers:
    """All layers of one reading, the strongest first."""

    layers: tuple[Layer, ...]
    folder: Path = Path()

    def find(self, names: Iterable[str]) -> tuple[Found, ...]:
        """What each layer says that sets one of the names, the winner first: the first name, in the strongest layer.

        Raises:
            Unreadable: One layer sets both a name and its file.
        """
        return tuple(found for name in names for layer in self.layers for found in _in_layer(layer, name))

    def text_of(self, found: Found) -> str:
        """The text of a value, read from its file where it names one, without the line ends that close the file.

        Raises:
            Unreadable: The file cannot be read.
        """
        if found.text is not None:
            return found.text
        path = self.folder / (found.file or "")
        try:
            return _content(path)
        except (OSError, ValueError) as error:
            raise Unreadable(
                ConfigProblem(
                    key=found.name + FILE_SUFFIX,
                    value=found.file,
                    reason=_why(error),
                    origin=found.origin,
                    action=f"Make it the path of a file that this user can read, or set {found.name} instead.",
                )
            ) from None

    def names(self) -> Iterator[tuple[str, str]]:
        """Each variable that people set (not the defaults), with its origin; the strongest layer first."""
        for layer in self.layers:
            if layer.origin != APP_NAME:
                yield from ((key, layer.origin_of(key)) for key in layer.values)


def read_layers(sources: Sources) -> tuple[Layers, tuple[ConfigProblem, ...]]:
    """Read every source once, and say what of them cannot be read."""
    dotenv = DotenvFile() if sources.folder is None else read_dotenv(sources.folder / ".env")
    weakest_first = (
        Layer(APP_NAME, sources.defaults),
        Layer(".env", dotenv.values, dotenv.lines),
        Layer("environment", sources.environ),
        Layer(COMMAND_LINE, sources.overrides),
    )
    return Layers(weakest_first[::-1], sources.folder or Path()), dotenv.problems


def _in_layer(layer: Layer, key: str) -> Iterator[Found]:
    text, file = layer.values.get(key), layer.values.get(key + FILE_SUFFIX)
    if text is not None and file is not None:
        raise Unreadable(
            ConfigProblem(
                key=key,
                reason=f"set twice, by {key} and by {key}{FILE_SUFFIX}",
                origin=layer.origin,
                action=f"Remove {key} or {key}{FILE_SUFFIX}.",
            )
        )
    if text is not None:
        yield Found(layer.origin_of(key), key, text=text)
    elif file is not None:
        yield Found(layer.origin_of(key + FILE_SUFFIX), key, file=file)


def _content(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        content = file.read(_FILE_LIMIT + 1)
    if len(content) > _FILE_LIMIT:
        raise ValueError("more than 1 MiB long")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "a file that this user may not read"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return str(error)
