"""Where a pod's values come from: which stand in its own manifest, which in the ConfigMap, and which in a Secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eggycore.config.configuration import Value
from eggycore.config.variable import Variable
from eggycore_k8s_watch.manifest_app import App
from eggycore_k8s_watch.manifest_yaml import Comment, Manifest

__all__ = ["SecretRef", "Values", "reloadable_comment", "values_of"]

_FROM_HERE = ("environment", "--set", ".env")
"""Where values are set that the image does not bring with it, as the files in config/ are."""

_OF_THE_POD = ("CONFIG_DIR", "ENVIRONMENT", "K8S_CONTEXT", "K8S_KUBECONFIG", "K8S_NAMESPACE")
"""What another machine says about itself, or what manifests say otherwise."""

_FIELDS = {"NODE_NAME": "spec.nodeName", "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}


@dataclass(frozen=True, kw_only=True)
class SecretRef:
    """A secret that the pod takes from the Secret. `required`: the app does not start without it."""

    key: str
    required: bool


@dataclass(frozen=True, kw_only=True)
class Values:
    """The values of a pod.

    Args:
        environment: Those in its own manifest, by variable.
        configmap: Those that a reload may change, by variable.
        secrets: Those that the Secret has.
        reloadable: Every variable that may stand in the ConfigMap.
        files: Variables of `environment` that name a file.
    """

    environment: Mapping[str, str]
    configmap: Mapping[str, str]
    secrets: tuple[SecretRef, ...]
    reloadable: tuple[str, ...]
    files: tuple[str, ...]

    def environment_entries(self) -> list[Manifest]:
        """What `env` of a container holds, without secrets."""
        fields: list[Manifest] = [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in _FIELDS.items()
        ]
        values: list[Manifest] = [{"name": key, "value": value} for key, value in self.environment.items()]
        return [*values, *fields]

    def secret_entries(self, secret: str) -> list[Manifest]:
        """What `env` of a container holds for secrets: references, never a value."""
        return [
            {
                "name": one.key,
                "valueFrom": {
                    "secretKeyRef": {"name": secret, "key": one.key, **({} if one.required else {"optional": True})}
                },
            }
            for one in self.secrets
        ]


def values_of(app: App) -> Values:
    """The values of the pods of an app."""
    settings = app.settings
    here = dict(_set_here(app))
    reloadable = tuple(
        sorted(key for key, one in settings.owned.items() if one.variable.reload and not one.variable.kind.secret)
    )
    kept = set(reloadable) if app.watch else set()
    environment = {"ENVIRONMENT": str(settings.value("ENVIRONMENT"))}
    if app.watch:
        here["ENABLE_K8S_CONFIG_WATCH"] = "true"
    if "api" in app.watch and settings.value("K8S_CONFIGMAP_NAME"):
        here["K8S_CONFIGMAP_NAME"] = app.configmap
    environment |= {key: text for key, text in sorted(here.items()) if key not in kept}
    return Values(
        environment=environment,
        configmap={key: text for key, text in sorted(here.items()) if key in kept},
        secrets=tuple(_secrets(app)),
        reloadable=reloadable,
        files=tuple(key for key in environment if _is_file(app, key)),
    )


def _set_here(app: App) -> Iterator[tuple[str, str]]:
    for key, one in app.settings.owned.items():
        value = app.settings.values[key]
        if key not in _OF_THE_POD and not one.variable.kind.secret and _is_set_here(value, one.variable):
            yield key, "" if value.value is None else one.variable.written(value.value)


def _is_set_here(value: Value, variable: Variable) -> bool:
    if not value.found or value.found[0].name not in variable.names:  # the second: that of the class of a member
        return False
    return value.found[0].origin.startswith(_FROM_HERE)


def _secrets(app: App) -> Iterator[SecretRef]:
    for key, one in sorted(app.settings.owned.items()):
        if one.variable.kind.secret:
            is_set = _is_set_here(app.settings.values[key], one.variable)
            yield SecretRef(key=key, required=is_set or key in app.settings.lacking)


def _is_file(app: App, key: str) -> bool:
    one = app.settings.owned.get(key)
    return one is not None and one.variable.kind.base == "path" and str(app.settings.value(key)).startswith("/")


def reloadable_comment(values: Values) -> Comment:
    """What may stand in the ConfigMap, for whoever edits it."""
    lines = ["Only what a running process may change, and no secret; other keys are ignored and reported:"]
    line = ""
    for key in values.reloadable:
        if len(line) + len(key) > 100:
            lines.append(line.rstrip())
            line = ""
        line += f"{key} "
    return Comment("\n".join([*lines, line.rstrip()]))
