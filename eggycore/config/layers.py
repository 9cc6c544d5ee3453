"""Reads every source once, the strongest first: what wins, where it is, and what of it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eggycore.config.dotenv_file import DotenvFile, read_dotenv
from eggycore.config.expansion import Lookup, Unexpanded
from eggycore.config.sources import APP_NAME, COMMAND_LINE, FORCED, Found, Layer, Layers, Sources, Unreadable
from eggycore.diagnostics import did_you_mean
from eggycore.errors import ConfigProblem

if TYPE_CHECKING:
    from eggycore.config.core import Config
    from eggycore.config.files import ConfigFiles

__all__ = ["read_layers"]

_DEFAULT_FOLDER: Final = "config"
_DEFAULT_ENVIRONMENT: Final = "development"


@dataclass(frozen=True)
class _Chosen:
    """Something that says which files are read, and where it is set; "" when nobody set it."""

    text: str
    origin: str = ""


def read_layers(sources: Sources, *, core: Config | None = None) -> tuple[Layers, tuple[ConfigProblem, ...]]:
    """Read every source once, without the overlays, and say what of them cannot be read.

    Args:
        sources: Where values come from.
        core: The core's settings when they are made in code: these choose the files, then.
    """
    dotenv = DotenvFile() if sources.folder is None else read_dotenv(sources.folder / ".env")
    lookup = Lookup((sources.overrides, sources.environ), dotenv.values, dotenv.quoted)
    problems = list(dotenv.problems)
    forced = {} if sources.environment is None else {"ENVIRONMENT": sources.environment}
    above = (
        *([Layer(FORCED, forced)] if forced else []),
        Layer(COMMAND_LINE, sources.overrides),
        Layer("environment", sources.environ),
        Layer(".env", dict(_expanded(dotenv, lookup, problems)), dotenv.lines),
    )
    folder = sources.folder or Path()
    files: tuple[Layer, ...] = ()
    said = _files(sources, Layers(above, folder), lookup, core, problems)
    if said is not None:
        problems += said.problems
        files = (said.environment, said.base)
    layers = Layers(
        (*above, *files, Layer(APP_NAME, sources.defaults)), folder, files, whole=said is None or said.whole
    )
    return layers, tuple(problems)


def _expanded(dotenv: DotenvFile, lookup: Lookup, problems: list[ConfigProblem]) -> Iterator[tuple[str, str]]:
    for name in dotenv.values:
        try:
            yield name, lookup.in_dotenv(name)
        except Unexpanded as error:
            origin = f".env line {dotenv.lines[name]}"
            problems.append(ConfigProblem(key=name, reason=error.reason, origin=origin, action=error.action))


def _files(
    sources: Sources, layers: Layers, lookup: Lookup, core: Config | None, problems: list[ConfigProblem]
) -> ConfigFiles | None:
    """What the files say; None when there are none."""
    if core is not None:
        is_set = core.config_dir != Path(_DEFAULT_FOLDER)
        folder = _Chosen(str(core.config_dir), "code") if is_set else _Chosen("")
        environment = _Chosen(core.environment, "code")
    else:
        folder, environment = _chosen(layers, "CONFIG_DIR"), _chosen(layers, "ENVIRONMENT")
    if sources.environment is not None:
        environment = _Chosen(sources.environment, FORCED)
    shown = folder.text or _DEFAULT_FOLDER
    if sources.folder is None and not folder.origin:
        return None
    path = (sources.folder or Path()) / shown
    if not folder.origin and not path.exists():  # all that a process without such files pays for
        return None
    from eggycore.config.files import read_config_files

    word = environment.text or _DEFAULT_ENVIRONMENT
    said = read_config_files(path, shown=shown.rstrip("/"), environment=word, lookup=lookup)
    if said is None and folder.text not in ("", _DEFAULT_FOLDER):
        problems.append(_no_folder(folder))
    if said is not None and said.environments and word not in said.environments:
        problems.append(_no_environment(environment, word, shown, said.environments))
    return said


def _chosen(layers: Layers, key: str) -> _Chosen:
    try:
        found: tuple[Found, ...] = layers.find((key,))
        return _Chosen(layers.text_of(found[0]), found[0].origin_of(key)) if found else _Chosen("")
    except Unreadable:  # told when the variable itself is read
        return _Chosen("")


def _no_folder(chosen: _Chosen) -> ConfigProblem:
    return ConfigProblem(
        key="CONFIG_DIR",
        value=chosen.text,
        reason="no such folder",
        origin=chosen.origin,
        owner="eggycore",
        action="Make it the path of a folder that this user can read, or remove it for the default.",
    )


def _no_environment(chosen: _Chosen, word: str, folder: str, known: tuple[str, ...]) -> ConfigProblem:
    return ConfigProblem(
        key="ENVIRONMENT",
        value=word,
        reason=f"no environment that {folder.rstrip('/')}/ knows",
        origin=chosen.origin,
        owner="eggycore",
        action=f"Set it to one of {', '.join(known)}, or give it a file there.{_meant(word.lower(), known)}",
    )


def _meant(word: str, known: tuple[str, ...]) -> str:
    """A hint at the environment of which the word is the beginning, else the most alike: "prod" is no typing error."""
    begun = [name for name in known if name.startswith(word)]
    return did_you_mean(begun[0], begun) if len(begun) == 1 else did_you_mean(word, known)
