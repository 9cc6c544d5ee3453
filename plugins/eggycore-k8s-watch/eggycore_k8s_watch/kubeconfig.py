"""Reads kubeconfigs, as kubectl merges them, and makes of one context the access to its cluster."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eggycore.diagnostics import did_you_mean
from eggycore_k8s_watch.access import Access
from eggycore_k8s_watch.credentials import Material
from eggycore_k8s_watch.errors import KubeconfigUnusable

__all__ = ["read_kubeconfig"]

_LIMIT = 4 * 1_048_576

_INSTEAD = (
    "Give the user a token or a client certificate: kubectl create token NAME makes one of a ServiceAccount's"
    " (tokenFile names a file that something renews), or run in the cluster."
)
_REFUSED_OF_USER: Mapping[str, tuple[str, str]] = {
    "exec": ("gets its credentials from a program (exec), which this process does not run", _INSTEAD),
    "auth-provider": ("gets its credentials from an auth-provider, which kubectl itself has given up", _INSTEAD),
    "username": ("has a user name and a password, which API servers no longer take", _INSTEAD),
    "as": ("acts as somebody else (as), which this process does not do", "Make a user with the rights it needs."),
}


@dataclass(frozen=True)
class _Entry:
    """A cluster, user or context, and the folder from which its relative paths start."""

    fields: Mapping[str, Any] = field(repr=False)
    folder: Path


@dataclass
class _Merged:
    """What several files say together; of two that say the same, the first counts."""

    files: str
    current: str = ""
    clusters: dict[str, _Entry] = field(default_factory=dict, repr=False)
    users: dict[str, _Entry] = field(default_factory=dict, repr=False)
    contexts: dict[str, _Entry] = field(default_factory=dict, repr=False)


def read_kubeconfig(files: Sequence[Path], context: str | None = None) -> Access:
    """The access that one context of the files gives.

    Args:
        files: At least one; of an entry that several have, the first counts.
        context: Which context; the current one when None.

    Raises:
        KubeconfigUnusable: A file cannot be read or says something that cannot be used.
    """
    merged = _merge(files)
    name = context or merged.current
    if not name:
        raise _unusable(merged, "it has no current context", "Name one in K8S_CONTEXT, or: kubectl config use-context")
    chosen = _entry(merged, "context", merged.contexts, name, "Correct K8S_CONTEXT, or current-context.")
    cluster_name, user_name = _text(merged, chosen, "cluster"), _text(merged, chosen, "user")
    cluster = _entry(merged, "cluster", merged.clusters, cluster_name, f"Correct the cluster of context {name!r}.")
    user = _Entry({}, cluster.folder)  # a context without user sends no credentials, as kubectl does
    if user_name:
        user = _entry(merged, "user", merged.users, user_name, f"Correct the user of context {name!r}.")
    _refuse(merged, user_name, user, cluster_name, cluster)
    return Access(
        server=_server(merged, cluster_name, cluster),
        namespace=_text(merged, chosen, "namespace") or "default",
        source=f"kubeconfig {merged.files}, context {name}",
        ca=_material(merged, cluster, "certificate-authority"),
        certificate=_material(merged, user, "client-certificate"),
        key=_material(merged, user, "client-key"),
        token=_text(merged, user, "token") or None,
        token_file=_path(merged, user, "tokenFile"),
        server_name=_text(merged, cluster, "tls-server-name") or None,
        verify=cluster.fields.get("insecure-skip-tls-verify") is not True,
    )


def _merge(files: Sequence[Path]) -> _Merged:
    merged = _Merged(os.pathsep.join(map(str, files)))
    for file in files:
        content = _parsed(file)
        merged.current = merged.current or str(content.get("current-context") or "")
        for into, kind in ((merged.clusters, "cluster"), (merged.users, "user"), (merged.contexts, "context")):
            for name, fields in _named(file, content, kind):
                into.setdefault(name, _Entry(fields, file.absolute().parent))
    return merged


def _parsed(file: Path) -> Mapping[str, Any]:
    import yaml  # 10 ms that only processes with a kubeconfig pay

    write_anew = "Write it anew, for example with kubectl config view --raw."
    try:
        with file.open("rb") as opened:
            content = opened.read(_LIMIT + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise KubeconfigUnusable(str(file), reason, "Correct K8S_KUBECONFIG, or make the file readable.") from error
    if len(content) > _LIMIT:
        raise KubeconfigUnusable(str(file), "it is longer than 4 MiB", write_anew)
    try:
        parsed = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1} is no YAML" if mark is not None else "it is no YAML"
        raise KubeconfigUnusable(str(file), line, write_anew) from None  # its text would show what stands there
    if not isinstance(parsed, dict):
        raise KubeconfigUnusable(str(file), "it is empty" if parsed is None else "it is no mapping", write_anew)
    return parsed


def _named(file: Path, content: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    entries = content.get(f"{kind}s") or ()
    for entry in entries if isinstance(entries, list) else ():
        fields = entry.get(kind) if isinstance(entry, dict) else None
        if not isinstance(fields, dict) or not isinstance(entry.get("name"), str):
            reason = f"{kind}s holds something that is no {kind} with a name"
            raise KubeconfigUnusable(str(file), reason, "Remove it; compare with kubectl config view.")
        yield entry["name"], fields


def _refuse(merged: _Merged, user_name: str, user: _Entry, cluster_name: str, cluster: _Entry) -> None:
    for key, (reason, action) in _REFUSED_OF_USER.items():
        if user.fields.get(key):
            raise _unusable(merged, f"the user {user_name!r} {reason}", action)
    if cluster.fields.get("proxy-url"):
        raise _unusable(
            merged,
            f"the cluster {cluster_name!r} is reached through a proxy (proxy-url), which is not supported",
            "Reach the API server directly, or through kubectl proxy with a context for it.",
        )


def _server(merged: _Merged, name: str, cluster: _Entry) -> str:
    server = _text(merged, cluster, "server")
    if not server.startswith(("https://", "http://")):
        found = f"the server of cluster {name!r} is {server!r}" if server else f"the cluster {name!r} has no server"
        raise _unusable(merged, found, "Give it a URL that begins with https://.")
    return server.rstrip("/")


def _material(merged: _Merged, entry: _Entry, key: str) -> Material | None:
    data = _text(merged, entry, f"{key}-data")
    if not data:
        return _path(merged, entry, key)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise _unusable(merged, f"{key}-data is not in base64", f"Encode it, or name a file in {key}.") from None


def _path(merged: _Merged, entry: _Entry, key: str) -> Path | None:
    text = _text(merged, entry, key)
    return entry.folder / text if text else None


def _text(merged: _Merged, entry: _Entry, key: str) -> str:
    value = entry.fields.get(key)
    if value is not None and not isinstance(value, str):
        raise _unusable(merged, f"{key} is no text", "Put it in quotes.")
    return value or ""


def _entry(merged: _Merged, kind: str, entries: Mapping[str, _Entry], name: str, action: str) -> _Entry:
    if name not in entries:
        hint = did_you_mean(name, entries)
        raise _unusable(merged, f"it has no {kind} {name!r}", f"{action}{hint}")
    return entries[name]


def _unusable(merged: _Merged, reason: str, action: str) -> KubeconfigUnusable:
    return KubeconfigUnusable(merged.files, reason, action)
