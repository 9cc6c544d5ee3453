"""What `eggycore doctor` looks at, one row for each finding; a step that needs an earlier one is skipped without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from eggycore.check_run import CheckRun
from eggycore.cli.options import RuntimeOptions
from eggycore.cli.version import versions
from eggycore.config import Config, Configuration
from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError
from eggycore.log.options import FileOutput
from eggycore.log.settings import LogSettings
from eggycore.plan import Planned
from eggycore.plugin_errors import PluginErrors
from eggycore.resources import Resources
from eggycore.runtime import Runtime
from eggycore.server.ports import PortTaken, bind_port
from eggycore.types import Examinable, Finding, HealthCheck, Initializer

__all__ = ["Examination", "Row", "State"]

State = Literal["ok", "warning", "red", "skipped"]

OPENING_TIME = "10s"
"""In place of STARTUP_TIMEOUT: nobody wants to wait a minute to hear that a server is down."""


EXAMINING_TIME = 10.0
"""Seconds that one resource may take to look at itself."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One finding.

    Args:
        subject: What was looked at: "plugin db", "port BUSINESS_HTTP_PORT".
        state: "red" keeps the app from running; "warning" does not; "skipped" could not be looked at.
        text: What was found.
        action: What to do about it, "" when nothing needs doing.
    """

    subject: str
    state: State
    text: str
    action: str = ""


class Examination:
    """Looks at one app. Used once.

    Args:
        options: Which app, which plugins, which settings.
        replicas: How many replicas of the app run at once.
    """

    def __init__(self, options: RuntimeOptions, *, replicas: int = 1) -> None:
        self.runtime: Runtime = options.runtime()
        """What was looked at; configured and planned as far as that was possible."""
        self._options = options
        self._replicas = replicas

    def rows(self) -> list[Row]:
        """Look at everything, in an order in which causes come before effects."""
        steps: tuple[tuple[str, Callable[[], Iterator[Row]]], ...] = (
            ("configuration", self._plugins_and_configuration),
            ("log", self._log),
            ("ports", self._ports),
            ("plan", self._plan),
            ("opening", self._opening),
        )
        rows = [Row(subject=name, state="ok", text=version) for name, version in versions().items()]
        broken = False
        for subject, step in steps:
            if broken:
                rows.append(Row(subject=subject, state="skipped", text="What comes before it is red."))
                continue
            found = list(step())
            broken = subject in ("configuration", "plan") and any(row.state == "red" for row in found)
            rows += found
        return rows

    def _plugins_and_configuration(self) -> Iterator[Row]:
        try:
            configuration = self.runtime.configure()
        except PluginErrors as error:
            yield from _plugin_rows(self.runtime)
            yield from _red("plugins", error)
            return
        except EggycoreError as error:
            yield from _plugin_rows(self.runtime)
            yield from _red("configuration", error)
            return
        yield from _plugin_rows(self.runtime)
        yield Row(subject="configuration", state="ok", text=f"{len(configuration.entries())} variables can be used.")
        for near_miss in configuration.unknown:
            yield Row(subject="configuration", state="warning", text=str(near_miss))

    def _log(self) -> Iterator[Row]:
        from eggycore.log.files import open_file

        files = [one for one in self.runtime.config[LogSettings].options().outputs if isinstance(one, FileOutput)]
        for file in files:
            try:
                open_file(file.path, file.rotation, setting=file.setting).close()
            except EggycoreError as error:
                yield from _red(f"log {file.setting}", error)
            else:
                yield Row(subject=f"log {file.setting}", state="ok", text=f"{file.path} can be written.")
        if not files:
            yield Row(subject="log", state="ok", text="Lines go to a stream, to no file.")

    def _ports(self) -> Iterator[Row]:
        host = self.runtime.config[Config].bind_host
        for setting, port in _ports(self.runtime.config):
            try:
                for bound in bind_port(host, port, setting):
                    bound.close()
            except PortTaken as error:
                ours = error.holder is not None and "eggycore" in error.holder.command
                yield from _rows(f"port {setting}", error, "warning" if ours else "red")
            except EggycoreError as error:
                yield from _red(f"port {setting}", error)
            else:
                yield Row(subject=f"port {setting}", state="ok", text=f"{host}:{port} is free.")

    def _plan(self) -> Iterator[Row]:
        try:
            plan = self.runtime.make_plan()
        except EggycoreError as error:
            yield from _red("plan", error)
            return
        components = {"initializers": plan.initializers, "services": plan.services, "health checks": plan.checks}
        counts = ", ".join(f"{name}: {len(found)}" for name, found in components.items())
        yield Row(subject="plan", state="ok", text=f"{counts}.")

    def _opening(self) -> Iterator[Row]:
        """In a runtime of its own, with less patience."""
        patience = {"STARTUP_TIMEOUT": OPENING_TIME, **self._options.overrides}
        runtime = replace(self._options, overrides=patience).runtime()
        yield from asyncio.run(_opened_and_checked(runtime, self._replicas))


async def _opened_and_checked(runtime: Runtime, replicas: int) -> list[Row]:
    rows: list[Row] = []
    try:
        async with runtime.opened("examine"):
            rows += [
                Row(subject=f"open {span.component}", state="ok", text=f"Opened in {span.seconds * 1000:.0f} ms.")
                for span in runtime.timeline.spans
                if span.phase == "open"
            ]
            for planned in runtime.make_plan().checks:
                rows.append(await _checked(planned))
            for initializer in runtime.make_plan().initializers:
                rows += await _examined(initializer, runtime.resources, replicas)
    except Exception as error:  # noqa: BLE001 -- the border: initializers may raise anything
        rows += _red("opening", error)
    return rows


async def _checked(planned: Planned[HealthCheck]) -> Row:
    run = CheckRun(planned.value)
    outcome = await run.once()
    await run.close()
    subject = f"check {planned.name}"
    if outcome.kind == "passed":
        return Row(subject=subject, state="ok", text="Passed.")
    red = outcome.kind == "failed" and planned.value.critical
    return Row(
        subject=subject, state="red" if red else "warning", text=f"{outcome.kind}: {outcome.reason}".rstrip(": ")
    )


async def _examined(planned: Planned[Initializer[Any]], resources: Resources, replicas: int) -> list[Row]:
    """What an opened resource says of itself, when it is one that can."""
    type_ = planned.value.provides
    resource = resources.get(type_) if type_ is not None else None
    if not isinstance(resource, Examinable):
        return []
    subject = f"examine {planned.name}"
    patience = asyncio.timeout(EXAMINING_TIME)
    try:
        async with patience:
            return [_row(finding) for finding in await resource.examine(replicas=replicas)]
    except Exception as error:  # noqa: BLE001 -- the border: a plugin's code may raise anything
        if patience.expired():
            return [Row(subject=subject, state="red", text=f"It did not answer within {EXAMINING_TIME:g} s.")]
        return list(_red(subject, error))


def _row(finding: Finding) -> Row:
    return Row(subject=finding.subject, state=finding.state, text=finding.text, action=finding.action)


def _plugin_rows(runtime: Runtime) -> Iterator[Row]:
    app = [runtime.plugins.app_record] if runtime.plugins.app_record else []
    for record in (*runtime.plugins.records, *app):
        who = f"{record.dist} {record.version}".strip() or "in no distribution"
        if record.state == "active":
            subject = f"{record.origin.kind} {record.name}"
            yield Row(subject=subject, state="ok", text=f"{who}, hooks: {', '.join(record.hooks) or 'none'}.")
        elif record.state == "broken" and not record.required:
            yield Row(subject=f"plugin {record.name}", state="warning", text=f"Optional and broken: {record.reason}")


def _ports(configuration: Configuration) -> Iterator[tuple[str, int]]:
    """The variables that name a port which is listened on, with the port."""
    values = configuration.values
    for key, owned in configuration.owned.items():
        switch = owned.variable.when
        port = values[key].value
        if owned.variable.listens and isinstance(port, int) and (switch is None or values[switch].value):
            yield key, port


def _red(subject: str, error: BaseException) -> Iterator[Row]:
    return _rows(subject, error, "red")


def _rows(subject: str, error: BaseException, state: State) -> Iterator[Row]:
    diagnosis = diagnose(error)
    for part in diagnosis.parts or (diagnosis,):
        yield Row(subject=subject, state=state, text=_text(part), action=part.action)
    for warning in diagnosis.warnings:
        yield Row(subject=subject, state="warning", text=warning)


def _text(diagnosis: Diagnosis) -> str:
    return " ".join(f"{diagnosis.description} {diagnosis.cause}".split())
