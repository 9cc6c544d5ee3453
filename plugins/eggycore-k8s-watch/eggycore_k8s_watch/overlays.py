"""What the keys of a ConfigMap say about variables: plain keys are values, keys such as production.yaml documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from eggycore.config.documents import Document, format_of, parse_document
from eggycore.config.sources import Layer
from eggycore.errors import ConfigProblem
from eggycore_k8s_watch.objects import Object, name_of
from eggycore_k8s_watch.reflector import Objects

__all__ = ["ConfigMaps", "Overlay", "overlay_of"]

KNOWN_ENVIRONMENTS = frozenset({"development", "staging", "production"})


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """What one ConfigMap lays over the environment.

    Args:
        layers: A later one wins.
        problems: What makes it unusable as a whole: documents that cannot be read. Holds no values.
        warnings: Sentences on what is in it and has no effect.
    """

    layers: tuple[Layer, ...] = ()
    problems: tuple[ConfigProblem, ...] = ()
    warnings: tuple[str, ...] = ()


def overlay_of(origin: str, data: Mapping[str, str], *, environment: str, binary: Iterable[str] = ()) -> Overlay:
    """What texts by key, as in a ConfigMap or in the folder where it is mounted, set.

    A key that ends in .json, .toml, .yaml or .yml is a document; one that is named after an environment counts only
    in that. Any other key is a variable. Of two that set the same variable the later counts: base, other documents by
    name, the document of this environment, plain keys.

    Args:
        origin: What it is called: "ConfigMap shop/forms".
        data: The texts.
        environment: The environment of this process.
        binary: Keys whose values are no text.
    """
    documents = {key: text for key, text in data.items() if format_of(key) is not None}
    parsed = {
        key: _parsed(origin, key, documents[key])
        for key in sorted(documents, key=lambda key: _rank(key, environment))
        if _counts(key, environment)
    }
    layers = [_layer(origin, key, document) for key, document in parsed.items()]
    plain = {key: text.rstrip("\r\n") for key, text in data.items() if key not in documents}
    if plain:
        layers.append(Layer(origin, plain, origins={key: f"{origin}, key {key}" for key in plain}))
    return Overlay(
        layers=tuple(layers),
        problems=tuple(problem for document in parsed.values() for problem in document.problems),
        warnings=tuple(f"{origin}, key {key}, is ignored: it is binary data, not text." for key in sorted(binary)),
    )


def _parsed(origin: str, key: str, text: str) -> Document:
    format = format_of(key)
    assert format is not None  # nothing else is a document
    return parse_document(text, name=f"{origin}, key {key}", format=format)


def _layer(origin: str, key: str, document: Document) -> Layer:
    where = f"{origin}, key {key}"
    layer = Layer.of(document, where)
    return replace(layer, origin=origin, origins=dict.fromkeys(layer.values, where))


def _stem(key: str) -> str:
    return key.rpartition(".")[0]


def _counts(key: str, environment: str) -> bool:
    stem = _stem(key)
    return stem == environment or stem not in KNOWN_ENVIRONMENTS


def _rank(key: str, environment: str) -> tuple[int, str]:
    stem = _stem(key)
    return (0 if stem == "base" else 2 if stem == environment else 1), key


@dataclass(kw_only=True)
class ConfigMaps:
    """What several ConfigMaps lay over the environment, each with its last good values. Belongs to one task.

    Args:
        namespace: Theirs, for origins.
        environment: The environment of this process.
    """

    namespace: str
    environment: str
    _good: dict[str, Overlay] = field(default_factory=dict, repr=False)
    _problems: dict[str, tuple[ConfigProblem, ...]] = field(default_factory=dict, repr=False)
    _deleted: set[str] = field(default_factory=set)

    def take(self, objects: Objects) -> tuple[ConfigProblem, ...]:
        """Take over what there is now, and keep the last good values of whatever is gone or cannot be read.

        Returns:
            What cannot be read of those that are there.
        """
        self._deleted = self._good.keys() - objects.keys()
        self._problems = {}
        for name, one in objects.items():
            overlay = self._overlay(one)
            if overlay.problems:
                self._problems[name] = overlay.problems
            else:
                self._good[name] = overlay
        return tuple(problem for name in sorted(self._problems) for problem in self._problems[name])

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers; those of a name later in the alphabet win."""
        return tuple(layer for name in sorted(self._good) for layer in self._good[name].layers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what has no effect."""
        return tuple(warning for name in sorted(self._good) for warning in self._good[name].warnings)

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why values are kept that the cluster no longer has, in sentences without any value."""
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        for name in sorted(self._deleted):
            yield f"ConfigMap {self.namespace}/{name} is deleted; its last values are kept"
        for problem in (first for _, (first, *_) in sorted(self._problems.items())):
            yield f"{problem.key}: {problem.reason}; the last good values are kept"

    def _overlay(self, one: Object) -> Overlay:
        data, binary = one.get("data"), one.get("binaryData")
        texts = data if isinstance(data, dict) else {}
        return overlay_of(
            f"ConfigMap {self.namespace}/{name_of(one)}",
            {key: text for key, text in texts.items() if isinstance(text, str)},
            environment=self.environment,
            binary=binary if isinstance(binary, dict) else (),
        )
