"""The app as it would run in a pod: its ports, its deadlines, and what it asks of the API server."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eggycore.config import Declared, Sources
from eggycore.errors import ConfigError, EggycoreError
from eggycore.types import Leadership
from eggycore_k8s_watch.leadership_settings import LeadershipSettings, lease_name
from eggycore_k8s_watch.manifest_errors import ManifestsRefused
from eggycore_k8s_watch.manifest_settings import PodSettings, read_in_pod, stand_ins

if TYPE_CHECKING:
    from eggycore.cli.options import RuntimeOptions

__all__ = ["IN_POD", "App", "Blueprint", "Port", "is_loopback", "object_name"]

IN_POD = {"KUBERNETES_SERVICE_HOST": "kubernetes.default.svc"}
"""What makes an environment that of a pod."""

GRACE_MARGIN = 5
"""Seconds between SHUTDOWN_TIMEOUT, at which the process ends itself, and the SIGKILL of the kubelet."""

Watch = Literal["api", "mount"]
"""How the app learns of changes of its ConfigMap: from the API server, or from the folder where it is mounted."""

_PORT_NAMES = {
    "BUSINESS_GRPC_PORT": "grpc",
    "BUSINESS_HTTP_PORT": "http",
    "HEALTH_CHECK_PORT": "health",
    "METRICS_PORT": "metrics",
}
_LONGEST_NAME = 52
"""Characters of a name that leave room, in the 63 of a label, for what Kubernetes adds to the names of pods."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port that the app listens on.

    Args:
        name: Its name in manifests: "http", "health".
        number: TCP port.
        key: The variable that names it.
        management: Whether it is for the kubelet and for Prometheus, not for callers.
    """

    name: str
    number: int
    key: str
    management: bool


@dataclass(frozen=True, kw_only=True)
class App:
    """The app, as it would run in a pod.

    Args:
        name: What its objects are called; "" when SERVICE_NAME makes no such name.
        command: What the container runs.
        version: Version of its distribution, "" when it has none.
        settings: Its configuration.
        ports: What it listens on; two variables with one number are both here.
        watch: How it learns of changes of its ConfigMap; empty when it does not.
        configmap: The name of that ConfigMap.
        lease: The name of the Lease by which its replicas elect a leader; "" when they do not.
        notes: Sentences on what was assumed.
    """

    name: str
    command: tuple[str, ...]
    version: str
    settings: PodSettings
    ports: tuple[Port, ...]
    watch: frozenset[Watch]
    configmap: str
    lease: str
    notes: tuple[str, ...] = ()

    @property
    def health(self) -> Port | None:
        """The port of the probes, None when they are switched off."""
        return next((port for port in self.ports if port.key == "HEALTH_CHECK_PORT"), None)

    @property
    def metrics(self) -> Port | None:
        """The port of /metrics, None when there is none."""
        return next((port for port in self.ports if port.key == "METRICS_PORT"), None)

    @property
    def grace(self) -> int:
        """Seconds that the kubelet has to leave the process between SIGTERM and SIGKILL."""
        return -int(-self.settings.number("SHUTDOWN_TIMEOUT") // 1) + GRACE_MARGIN

    @property
    def is_embedded_allowed(self) -> bool:
        """Whether the database may be a file of each replica."""
        return self.settings.value("DATABASE_ALLOW_EMBEDDED") is True

    @property
    def needs_api(self) -> bool:
        """Whether it speaks to the API server, and so needs a token and rights."""
        return "api" in self.watch or bool(self.lease)


class Blueprint:
    """An app and its plugins, loaded; of which the configuration can be read as in any pod.

    Raises:
        EggycoreError: Plugins or the app cannot be loaded.
    """

    def __init__(self, options: RuntimeOptions) -> None:
        self._options = options
        self._runtime = options.runtime()
        try:
            self._runtime.configure()
        except ConfigError as error:  # what is missing here may be in the pod
            if not self._runtime.declared:
                raise
            self._stand_in(error)
        self._plan_error: EggycoreError | None = None
        self._is_planned = False

    def _stand_in(self, error: ConfigError) -> None:
        """Have values for secrets that are not known here, so that a plan can be made and says what is served."""
        missing = stand_ins(self._runtime.declared, error.problems)
        runtime = replace(self._options, overrides={**self._options.overrides, **missing}).runtime()
        with suppress(ConfigError):
            runtime.configure()
            self._runtime = runtime

    @property
    def declared(self) -> tuple[Declared, ...]:
        """Every settings class of the app and its plugins."""
        return self._runtime.declared

    @property
    def folder(self) -> Path:
        """The app's folder."""
        return self._runtime.folder

    def here(self) -> App:
        """The app as configured by the environment of this process, .env and the command line, but in a pod.

        ENVIRONMENT is production unless the command line says otherwise: that of a laptop is another.

        Raises:
            ConfigError: What is set cannot be used in a pod.
            ManifestsRefused: No name for objects can be made of SERVICE_NAME.
        """
        overrides = dict(self._options.overrides)
        environ = {**os.environ, **IN_POD, "ENVIRONMENT": overrides.pop("ENVIRONMENT", "production")}
        app = self.with_sources(Sources(environ=environ, folder=self.folder, overrides=overrides), watching=True)
        if not app.name:
            raise _nameless(app.settings)
        if app.settings.problems:
            raise ConfigError(app.settings.problems)
        return app

    def with_sources(self, sources: Sources, *, watching: bool = False) -> App:
        """The app as configured by these sources.

        Args:
            sources: Where values come from; `defaults` is added.
            watching: Whether the ConfigMap is watched where the sources say nothing about it.

        Raises:
            ConfigError: The files of the app or its declarations are wrong.
        """
        runtime = self._runtime
        app = runtime.plugins.app
        defaults = {"SERVICE_NAME": app.name} if app is not None else {}
        settings = read_in_pod(self.declared, replace(sources, defaults=defaults))
        name = object_name(str(settings.value("SERVICE_NAME")))
        if watching and settings.by_name("ENABLE_K8S_CONFIG_WATCH"):
            defaults |= {"ENABLE_K8S_CONFIG_WATCH": "true"}
            if not any(settings.value(key) for key in ("K8S_CONFIG_DIR", "K8S_CONFIGMAP_SELECTOR")):
                defaults |= {"K8S_CONFIGMAP_NAME": name}
            settings = read_in_pod(self.declared, replace(sources, defaults=defaults))
        self._make_plan()
        return App(
            name=name,
            command=self.command("run"),
            version=runtime.plugins.app_record.version if runtime.plugins.app_record else "",
            settings=settings,
            ports=tuple(self._ports(settings)),
            watch=_watch(settings),
            configmap=str(settings.value("K8S_CONFIGMAP_NAME") or name),
            lease=self._lease(settings),
            notes=self._notes(),
        )

    def command(self, *words: str) -> tuple[str, ...]:
        """An eggycore command of the container, with the app and the plugins that the command line named."""
        options = self._options
        app = (options.app,) if options.app and words == ("run",) else ("--app", options.app) if options.app else ()
        plugins = () if options.plugins is None else ("--plugins", options.plugins)
        excluded = tuple(word for name in options.exclude for word in ("-x", name))
        return ("eggycore", *words, *app, *plugins, *excluded)

    def _make_plan(self) -> None:
        if self._is_planned:
            return
        self._is_planned = True
        try:
            self._runtime.make_plan()
        except EggycoreError as error:
            self._plan_error = error

    def _notes(self) -> tuple[str, ...]:
        if self._plan_error is None:
            return ()
        return (
            "what the app serves could not be found out, so HTTP and gRPC are taken as served unless they are switched"
            f" off: {str(self._plan_error).rstrip('.')}.",
        )

    def _ports(self, settings: PodSettings) -> list[Port]:
        served = {"BUSINESS_HTTP_PORT": bool(self._runtime.http.routes), "BUSINESS_GRPC_PORT": self._serves_grpc()}
        ports: list[Port] = []
        for key, one in settings.owned.items():
            variable, number = one.variable, settings.value(key)
            if not variable.listens or not isinstance(number, int) or key in settings.lacking:
                continue
            if variable.when is not None and settings.value(variable.when) is not True:
                continue
            if self._plan_error is None and not served.get(key, True):
                continue
            ports.append(
                Port(name=_port_name(key), number=number, key=key, management=variable.listens == "management")
            )
        return ports

    def _serves_grpc(self) -> bool:
        return bool(self._runtime.grpc.servicers)

    def _lease(self, settings: PodSettings) -> str:
        """The name of the Lease, where something asks for leadership or somebody has said that it is by a Lease."""
        if settings.value("K8S_LEADERSHIP") != "lease":
            return ""
        is_wanted = self._plan_error is not None or Leadership in self._runtime.make_plan().wanted
        if not is_wanted and settings.origin("K8S_LEADERSHIP") == "default":
            return ""
        lease = settings.value("K8S_LEASE_NAME")
        leadership = LeadershipSettings(mode="lease", lease=None if lease is None else str(lease))
        return lease_name(leadership, str(settings.value("SERVICE_NAME")))


def _watch(settings: PodSettings) -> frozenset[Watch]:
    watch: set[Watch] = set()
    if settings.value("ENABLE_K8S_CONFIG_WATCH") is True:
        if settings.value("K8S_CONFIGMAP_NAME") or settings.value("K8S_CONFIGMAP_SELECTOR"):
            watch.add("api")
        if settings.value("K8S_CONFIG_DIR"):
            watch.add("mount")
    return frozenset(watch)


def _port_name(key: str) -> str:
    name = _PORT_NAMES.get(key) or key.removesuffix("_PORT").lower().replace("_", "-")
    return name[:15].strip("-") or "port"


def object_name(service: str) -> str:
    """The name of the app's objects: a DNS label made of SERVICE_NAME, "" when nothing is left of it."""
    name = re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    return name if name[:1].isalpha() else ""  # a Service needs a letter in front


def _nameless(settings: PodSettings) -> ManifestsRefused:
    return ManifestsRefused(
        what=f"SERVICE_NAME {settings.value('SERVICE_NAME')!r} makes no name for objects.",
        why="Such a name has small letters, digits and hyphens, and begins with a letter.",
        action="Set SERVICE_NAME to one.",
    )


def is_loopback(host: str) -> bool:
    """Whether a server that listens on this address is reached from its own pod only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
