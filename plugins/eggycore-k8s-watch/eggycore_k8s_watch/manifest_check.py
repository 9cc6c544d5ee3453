"""What `eggycore k8s check` does: reads the app as each workload would configure it, and compares."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore.config import Sources
from eggycore_k8s_watch.manifest_app import IN_POD, App, Blueprint
from eggycore_k8s_watch.manifest_check_objects import check_objects
from eggycore_k8s_watch.manifest_check_pod import check_pod
from eggycore_k8s_watch.manifest_check_probes import check_probes
from eggycore_k8s_watch.manifest_check_rights import check_rights
from eggycore_k8s_watch.manifest_check_values import check_values, overlay_of
from eggycore_k8s_watch.manifest_documents import Document
from eggycore_k8s_watch.manifest_findings import Finding, Report, render_findings
from eggycore_k8s_watch.manifest_given import Given, given_to
from eggycore_k8s_watch.manifest_workloads import Workload, find_workloads

if TYPE_CHECKING:
    from eggycore.cli.options import RuntimeOptions

__all__ = ["check_manifests", "render_findings"]


def check_manifests(options: RuntimeOptions, documents: Sequence[Document]) -> list[Finding]:
    """Everything in which the objects disagree with the app that the options name, in the order of files and lines.

    Raises:
        EggycoreError: The app or its own files cannot be read.
    """
    report = Report()
    for document in documents:
        for key, line in document.repeated:
            report.red(
                document,
                line,
                f"The key {key} stands twice in one mapping.",
                "kubectl refuses that, or takes the last one.",
                "Remove one of the two.",
            )
    serving: list[tuple[Workload, App]] = []
    here = _Here(options)
    with _folder_without_dotenv(here.blueprint(None).folder) as folder:
        bare = _app_with(here.blueprint(None), options, folder, {})
        workloads = find_workloads(documents, bare.settings.owned, {port.number for port in bare.ports})
        for workload in workloads:
            given = given_to(workload, documents)
            environ = _environ(given, folder, bare, workload, documents)
            app = _app_with(here.blueprint(_plugins(workload, given)), options, folder, environ)
            _check_workload(report, workload, app, given, documents)
            if workload.serves:
                serving.append((workload, app))
    if not workloads:
        report.warning(
            documents[0],
            1,
            "No object here runs the app.",
            "What its pods are given was not compared.",
            "Check the file with the Deployment together with the others.",
        )
    check_objects(report, documents, serving)
    order = {document.file: number for number, document in reversed(list(enumerate(documents)))}
    return sorted(report.findings, key=lambda one: (order[one.file], one.line, one.state))


class _Here:
    """The app with the plugins that a workload selects, where the command line does not say which."""

    def __init__(self, options: RuntimeOptions) -> None:
        self._options = options
        self._known: dict[str | None, Blueprint] = {}

    def blueprint(self, plugins: str | None) -> Blueprint:
        chosen = plugins if self._options.plugins is None else self._options.plugins
        if chosen not in self._known:
            self._known[chosen] = Blueprint(replace(self._options, plugins=chosen))
        return self._known[chosen]


def _plugins(workload: Workload, given: Given) -> str | None:
    """The plugins that the command of a container selects, else its environment; None when neither does."""
    words = [word.text for word in (*workload.container["command"].items, *workload.container["args"].items)]
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == "--plugins" or word.startswith("--plugins="):
            return following if word == "--plugins" else word.partition("=")[2]
    return given.environ.get("EGGYCORE_PLUGINS")


def _check_workload(report: Report, workload: Workload, app: App, given: Given, documents: Sequence[Document]) -> None:
    check_values(report, workload, app, given, documents)
    check_pod(report, workload, app, given, documents)
    if workload.serves:
        check_probes(report, workload, app)
        check_rights(report, workload, app, documents)


def _environ(
    given: Given, folder: Path, bare: App, workload: Workload, documents: Sequence[Document]
) -> dict[str, str]:
    environ = {**given.environ, **overlay_of(bare.settings, workload, given, documents).environ}
    if not (folder / environ.get("CONFIG_DIR", "")).is_dir():
        environ.pop("CONFIG_DIR", None)  # a folder of the image's, whose counterpart here is the app's own
    return environ


def _app_with(blueprint: Blueprint, options: RuntimeOptions, folder: Path, environ: dict[str, str]) -> App:
    known = {name: text for name, text in environ.items() if "\0" not in text}
    return blueprint.with_sources(
        Sources(environ={**IN_POD, **known}, folder=folder, overrides=dict(options.overrides))
    )


@contextmanager
def _folder_without_dotenv(folder: Path) -> Iterator[Path]:
    """A folder with the app's config/ and without its .env, which no image should hold."""
    with tempfile.TemporaryDirectory(prefix="eggycore-") as name:
        if (folder / "config").is_dir():
            (Path(name) / "config").symlink_to((folder / "config").resolve())
        yield Path(name)
