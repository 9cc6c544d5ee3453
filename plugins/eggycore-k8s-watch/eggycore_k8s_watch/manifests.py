"""What `eggycore k8s manifests` writes: the objects of the app as YAML, made from the app's own settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore_k8s_watch.manifest_app import App, Blueprint, is_loopback
from eggycore_k8s_watch.manifest_errors import ManifestsRefused
from eggycore_k8s_watch.manifest_objects import Request, make_objects
from eggycore_k8s_watch.manifest_values import values_of
from eggycore_k8s_watch.manifest_yaml import Manifest, write_yaml

if TYPE_CHECKING:
    from eggycore.cli.options import RuntimeOptions

__all__ = ["KINDS", "Manifests", "Wish", "make_manifests"]

KINDS = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Job",
    "Service",
    "Deployment",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "ServiceMonitor",
)
"""What can be made, in an order in which it can be applied."""

REPLICAS = 2


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line says about the manifests; None and () leave it to the app.

    Args:
        image: The container image.
        namespace: Where the objects go.
        replicas: How many pods serve at least.
        mesh: Whether the pods get a sidecar of Istio or Linkerd.
        kinds: Which kinds are wanted; () for all that the app needs.
    """

    image: str | None = None
    namespace: str | None = None
    replicas: int | None = None
    mesh: bool = False
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """The objects of an app.

    Args:
        objects: In an order in which they can be applied.
        header: The comment that says which command made them.
        notes: Sentences for whoever applies them: what was assumed, and what they need beside.
    """

    objects: tuple[Manifest, ...]
    header: str
    notes: tuple[str, ...]

    def stream(self) -> str:
        """All of them as one text, one document each."""
        return self.header + "---\n".join(write_yaml(one) for one in self.objects)

    def files(self) -> dict[str, str]:
        """A text of each by the name of its file: "deployment.yaml"."""
        return {f"{str(one['kind']).lower()}.yaml": self.header + write_yaml(one) for one in self.objects}

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write a file for each; returns those of earlier runs in the folder that no kind stands for any more.

        Raises:
            ManifestsRefused: A file cannot be written.
        """
        files = self.files()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8")
            others = (folder / f"{kind.lower()}.yaml" for kind in KINDS if f"{kind.lower()}.yaml" not in files)
            return tuple(
                path for path in others if path.is_file() and path.read_text(errors="replace").startswith(_MADE)
            )
        except OSError as error:
            raise ManifestsRefused(
                what=f"{error.filename or folder} cannot be written.",
                why=f"The system says: {error.strerror or type(error).__name__}.",
                action="Name a folder that this user can write to with -o.",
            ) from None


_MADE = "# Made by: eggycore k8s manifests"


def make_manifests(options: RuntimeOptions, wish: Wish) -> Manifests:
    """The manifests of the app that the options name.

    Raises:
        ConfigError: The configuration cannot be used in a pod.
        ManifestsRefused: The app as configured cannot be run by Kubernetes, or needs nothing of the kinds wanted.
    """
    blueprint = Blueprint(options)
    app = blueprint.here()
    namespace = wish.namespace or str(app.settings.value("K8S_NAMESPACE") or "default")
    replicas = wish.replicas or (1 if app.is_embedded_allowed else REPLICAS)
    _check(app, replicas)
    values = values_of(app)
    migrates = app.settings.value("DATABASE_MIGRATIONS") not in (None, "off")
    request = Request(
        image=wish.image or f"{app.name}:{app.version or 'latest'}",
        namespace=namespace,
        replicas=replicas,
        mesh=wish.mesh,
        migrate=blueprint.command("db", "migrate") if migrates else (),
    )
    objects = make_objects(app, values, request)
    wanted = tuple(one for one in objects if not wish.kinds or one["kind"] in wish.kinds)
    if not wanted:
        offered = ", ".join(str(one["kind"]) for one in objects)
        raise ManifestsRefused(
            what=f"the app needs no {' and no '.join(wish.kinds)}.",
            why="With these plugins and settings nothing asks for it.",
            action=f"Select the plugin that does, or ask for another kind: {offered}.",
        )
    notes = [*app.notes, *(f"{key} names a file: mount a volume there." for key in values.files)]
    return Manifests(objects=wanted, header=_header(app, options, wish), notes=tuple(notes))


def _check(app: App, replicas: int) -> None:
    if app.health is None:
        raise ManifestsRefused(
            what="the health probes are switched off.",
            why="ENABLE_HEALTH_CHECK is false, and the kubelet could not tell whether a pod serves.",
            action="Set ENABLE_HEALTH_CHECK=true.",
        )
    for port in app.ports:
        if port.number == 0:
            raise ManifestsRefused(
                what=f"{port.key} is 0.",
                why="The process would take any free port, which no manifest can name.",
                action=f"Set {port.key} to a port, or leave it out for its default.",
            )
    host = str(app.settings.value("BIND_HOST"))
    if is_loopback(host):
        raise ManifestsRefused(
            what=f"BIND_HOST is {host}.",
            why="Neither the kubelet nor a Service reaches what listens on the loopback of a pod.",
            action="Leave BIND_HOST out: in a pod it is 0.0.0.0.",
        )
    if replicas > 1 and app.is_embedded_allowed:
        raise ManifestsRefused(
            what=f"DATABASE_ALLOW_EMBEDDED is true, and {replicas} replicas are asked for.",
            why="Each replica would have an SQLite file of its own.",
            action="Take DATABASE_ALLOW_EMBEDDED back and put DATABASE_DSN into the Secret, or give --replicas 1.",
        )


def _header(app: App, options: RuntimeOptions, wish: Wish) -> str:
    words = ["eggycore", "k8s", "manifests", *_option("--app", options.app), *_option("--plugins", options.plugins)]
    words += [word for name in options.exclude for word in ("-x", name)]
    words += [word for pair in _shown(app, options.overrides) for word in ("--set", pair)]
    words += [*_option("--image", wish.image), *_option("--namespace", wish.namespace)]
    words += _option("--replicas", None if wish.replicas is None else str(wish.replicas))
    words += ["--mesh"] if wish.mesh else []
    words += [word for kind in wish.kinds for word in ("--kind", kind)]
    return f"# Made by: {shlex.join(words)}\n"


def _shown(app: App, overrides: Mapping[str, str]) -> Iterable[str]:
    for key, text in overrides.items():
        one = app.settings.by_name(key)
        yield f"{key}={'...' if one is None or one.variable.kind.secret else text}"


def _option(name: str, value: str | None) -> list[str]:
    return [] if value is None else [name, value]
