"""What a container's environment is given by its manifest: texts, references, and the ConfigMaps that lie beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from eggycore_k8s_watch.manifest_documents import Document, Place
from eggycore_k8s_watch.manifest_workloads import Workload

__all__ = ["Given", "GivenValue", "given_to"]

From = Literal["text", "configmap", "secret", "field"]


@dataclass(frozen=True)
class GivenValue:
    """A variable that a container is given.

    Args:
        name: Its name.
        origin: From where: its own text, a ConfigMap, a Secret, a field of the pod.
        document: The object that says so.
        place: Where it says so.
        text: The value, None when it is not known here.
    """

    name: str
    origin: From
    document: Document
    place: Place
    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Given:
    """Everything that a container is given.

    Args:
        values: The variables, by name; the one that counts when several say something.
        repeated: Those that one `env` sets twice: the one that does not count.
        elsewhere: References to ConfigMaps and Secrets of which all keys are taken, and that are not here.
    """

    values: dict[str, GivenValue]
    repeated: tuple[GivenValue, ...]
    elsewhere: tuple[tuple[str, Place], ...]

    @property
    def environ(self) -> dict[str, str]:
        """The environment, as far as it is known here."""
        return {name: one.text for name, one in self.values.items() if one.text is not None}

    def is_unknown(self, name: str) -> bool:
        """Whether the variable is given, and its value is not known here."""
        return name in self.values and self.values[name].text is None


def given_to(workload: Workload, documents: Sequence[Document]) -> Given:
    """What the app's container of a workload is given, with the ConfigMaps and Secrets among these objects."""
    values: dict[str, GivenValue] = {}
    repeated: list[GivenValue] = []
    elsewhere: list[tuple[str, Place]] = []
    for entry in workload.container["envFrom"].items:
        for kind, field_name in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if field_name not in entry:
                continue
            source = _find(kind, entry.at(field_name, "name").text, workload, documents)
            if source is None:
                elsewhere.append((f"{kind} {entry.at(field_name, 'name').text}", entry))
            else:
                values |= {one.name: one for one in _all_keys(source, entry["prefix"].text)}
    own: dict[str, GivenValue] = {}
    for entry in workload.container["env"].items:
        one = _entry(entry, workload, documents)
        if one.name in own:
            repeated.append(own[one.name])
        own[one.name] = one
    return Given(values | own, tuple(repeated), tuple(elsewhere))


def _entry(entry: Place, workload: Workload, documents: Sequence[Document]) -> GivenValue:
    name, source = entry["name"].text, entry["valueFrom"]
    if "configMapKeyRef" in source:
        reference = source["configMapKeyRef"]
        found = _find("ConfigMap", reference["name"].text, workload, documents)
        if found is None:
            return GivenValue(name, "configmap", workload.document, entry)
        text = found.root["data"][reference["key"].text]
        return GivenValue(name, "configmap", found, text, _known(text))
    if "secretKeyRef" in source:
        return GivenValue(name, "secret", workload.document, entry)
    if source:
        return GivenValue(name, "field", workload.document, entry)
    value = entry["value"]
    return GivenValue(name, "text", workload.document, value if value else entry, _text(value))


def _text(value: Place) -> str | None:
    """The text of an `env` entry: nothing at all is the empty text, $(NAME) is for the kubelet to fill in."""
    if not value:
        return ""
    if isinstance(value.value, bool):
        return str(value.value).lower()
    text = value.text or str(value.value)
    return None if "$(" in text else text


def _known(value: Place) -> str | None:
    return value.text if value else None


def _find(kind: str, name: str, workload: Workload, documents: Iterable[Document]) -> Document | None:
    for document in documents:
        here, there = document.namespace, workload.document.namespace
        if document.kind == kind and document.name == name and (not here or not there or here == there):
            return document
    return None


def _all_keys(source: Document, prefix: str) -> Iterator[GivenValue]:
    for fields in (source.root["data"], source.root["stringData"]):
        for key, value in fields.fields:
            if source.kind == "Secret":
                yield GivenValue(prefix + key, "secret", source, value)
            else:
                yield GivenValue(prefix + key, "configmap", source, value, value.text or str(value.value))
