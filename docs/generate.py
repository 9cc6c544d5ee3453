"""Writes the parts of docs/ that are made from the code, and deploy/kubernetes: `make docs`. A test fails when one of
them is out of date.

A page says `<!-- generated: NAME -->` (or `<!-- generated: file PATH -->`) where such a part begins and
`<!-- end -->` where it ends.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from eggycore import hookspecs
from eggycore.config.reference import REFERENCE_BEGIN, reference_markdown, replace_reference
from eggycore.diagnostics import diagnose, render
from eggycore.errors import EggycoreError, NotUpYet, Unavailable
from eggycore.runtime import Runtime
from eggycore.selection import Selection

HERE = Path(__file__).parent
PACKAGES = ("eggycore", "eggycore_cache", "eggycore_db", "eggycore_k8s_watch", "eggycore_monitoring")
PLUGINS = ("db", "cache", "monitoring", "k8s-watch")
HOOKS: tuple[Callable[..., object], ...] = (
    hookspecs.register_settings,
    hookspecs.init_infra,
    hookspecs.register_services,
    hookspecs.register_health_checks,
    hookspecs.check_config,
    hookspecs.config_changed,
)
"""In the order in which they are called."""

_PART = re.compile(r"(<!-- generated: (\w+)(?: (\S+))? -->\n).*?(?=<!-- end -->)", re.DOTALL)


def renewed(page: str) -> str:
    """The text of a page with its generated parts made anew."""

    def made(part: re.Match[str]) -> str:
        begin, name, argument = part.groups()
        make = PARTS[name]
        return f"{begin}\n{make(argument) if argument else make()}\n\n"

    page = _PART.sub(made, page)
    return replace_reference(page, configuration()) if REFERENCE_BEGIN in page else page


def main() -> None:
    """Renew every page."""
    for page in sorted(HERE.glob("*.md")):
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    manifests(HERE.parent / "deploy" / "kubernetes")


# --- hooks


def hooks() -> str:
    """Every hook with its exact signature and its docstring."""
    return "\n\n".join(_hook(hook) for hook in HOOKS)


def signature(hook: Callable[..., object]) -> str:
    """The hook as one writes it, with its annotations."""
    return f"def {hook.__name__}{inspect.signature(hook)}".replace("'", "")


def _hook(hook: Callable[..., object]) -> str:
    intro, *sections = re.split(r"^(Args|Returns|Raises|Example):\n", inspect.getdoc(hook) or "", flags=re.MULTILINE)
    text = [f"## {hook.__name__}", f"```text\n{signature(hook)}\n```", intro.strip()]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        text.append(_section(title, inspect.cleandoc(body)))
    return "\n\n".join(text)


def _section(title: str, body: str) -> str:
    if title == "Example":
        code = "\n".join(line[4:] for line in body.splitlines())  # without ">>> " and "... "
        return f"```python\n{_formatted(code)}```"
    if title in ("Args", "Raises"):
        body = re.sub(r"^(\w+): ", r"- `\1`: ", body, flags=re.MULTILINE)
    return f"**{title}**\n\n{body}" if body.startswith("-") else f"**{title}.** {body}"


def _formatted(code: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "-"]
    return subprocess.run(command, input=code, check=True, capture_output=True, text=True).stdout


# --- configuration


def configuration() -> str:
    """Every variable of the core and of the plugins, by owner."""
    selection = Selection(names=PLUGINS)
    runtime = Runtime(app=object(), selection=selection, environ={"SERVICE_NAME": "docs"}, folder=HERE)
    runtime.configure()
    return reference_markdown(runtime.declared)


# --- files


def file(path: str) -> str:
    """A file of docs/examples, as it is."""
    text = (HERE / "examples" / path).read_text(encoding="utf-8")
    return f"```{Path(path).suffix[1:].replace('py', 'python')}\n{text}```"


# --- errors


def error_reference() -> str:
    """Every error of the project with an example of what it prints."""
    from docs.error_examples import SECTIONS

    return "\n\n".join(f"## {title}\n\n" + "\n\n".join(map(_error, examples)) for title, examples in SECTIONS.items())


def _error(example: EggycoreError) -> str:
    kind = type(example)
    meaning = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    where = f"`{kind.__module__}.{kind.__qualname__}`, exit code {kind.exit_code}"
    return f"### {kind.__name__}\n\n{meaning} {where}.\n\n```text\n{render(diagnose(example))}\n```"


def raised_errors() -> set[type[EggycoreError]]:
    """Every class of the project's error tree, without those that only group others."""
    for package in PACKAGES:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not module.name.endswith(".__main__"):  # importing that runs it
                importlib.import_module(module.name)
    raised = {kind for kind in _descendants(EggycoreError) if kind.__module__.partition(".")[0] in PACKAGES}
    return raised - {NotUpYet, Unavailable}  # which group others even while no plugin has one


def _descendants(kind: type[EggycoreError]) -> Iterator[type[EggycoreError]]:
    for child in kind.__subclasses__():
        if not child.__subclasses__():
            yield child
        yield from _descendants(child)


# --- manifests


def manifests(folder: Path) -> None:
    """Write the Kubernetes manifests of the sample app, whatever the settings of this machine are."""
    words = ["k8s", "manifests", "--app", "sample_app", "--plugins", "db,cache,monitoring,k8s-watch", "-o", str(folder)]
    environ = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    with tempfile.TemporaryDirectory() as elsewhere:
        command = [sys.executable, "-m", "eggycore", *words]
        subprocess.run(command, cwd=elsewhere, env=environ, check=True, capture_output=True)


PARTS: dict[str, Callable[..., str]] = {"errors": error_reference, "file": file, "hooks": hooks}

if __name__ == "__main__":
    main()
