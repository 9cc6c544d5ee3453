"""Counters, gauges and histograms without a dependency; an exporter reads them with `Registry.collect`.

Keep the child of a series where you use it: `observe = seconds.labels("GET", "/forms").observe` is looked up once,
and one observation then costs a fraction of a microsecond. Everything here may be used from any thread.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import Generic, Literal, TypeAlias, TypeVar

from eggycore.metric_rules import Kind, MetricError, checked_bounds, checked_labels

__all__ = [
    "DEFAULT_BUCKETS",
    "OVERFLOW",
    "Counter",
    "CounterChild",
    "Family",
    "Gauge",
    "GaugeChild",
    "Histogram",
    "HistogramChild",
    "Kind",
    "MetricError",
    "Registry",
    "Sample",
]

GaugeCallback: TypeAlias = Callable[[], float | Mapping[tuple[str, ...], float]]
"""Read at every collection: the value of a gauge without labels, or the values by label values of one with labels."""

DEFAULT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds, for the duration of requests, queries and jobs."""

OVERFLOW = "overflow"
"""The value of every label of the one series that takes what is beyond a family's label budget."""

MAX_SERIES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The state of one series.

    Args:
        labels: Label values, in the order of the family's label names.
        value: The value; of a histogram, the sum of what was observed.
        buckets: Of a histogram, (upper bound, observations at or below it); the last bound is infinity.
    """

    labels: tuple[str, ...]
    value: float
    buckets: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Family:
    """One metric with all its series, as it was when it was collected.

    Args:
        name: Full name; that of a counter ends in "_total".
        kind: "counter", "gauge" or "histogram".
        doc: The help text.
        labels: Label names.
        samples: One per series.
        error: What a gauge's callback raised; there are no samples then.
    """

    name: str
    kind: Kind
    doc: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    error: Exception | None = None


class CounterChild:
    """One series of a counter."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = Lock()
        self._value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Count `amount` more.

        Raises:
            ValueError: The amount is negative.
        """
        if amount < 0:
            raise ValueError("a counter only goes up; use a gauge for what goes down")
        with self._lock:
            self._value += amount

    @property
    def value(self) -> float:
        """What has been counted."""
        return self._value

    def sample(self, labels: tuple[str, ...]) -> Sample:
        """The state now."""
        return Sample(labels=labels, value=self._value)


class GaugeChild:
    """One series of a gauge."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = Lock()
        self._value = 0.0

    def set(self, value: float) -> None:
        """Replace the value."""
        with self._lock:
            self._value = value

    def inc(self, amount: float = 1.0) -> None:
        """Add to the value."""
        with self._lock:
            self._value += amount

    def dec(self, amount: float = 1.0) -> None:
        """Take from the value."""
        with self._lock:
            self._value -= amount

    @property
    def value(self) -> float:
        """The value now."""
        return self._value

    def sample(self, labels: tuple[str, ...]) -> Sample:
        """The state now."""
        return Sample(labels=labels, value=self._value)


class HistogramChild:
    """One series of a histogram."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._lock = Lock()
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation, in the unit of the metric's name (seconds, bytes)."""
        index = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[index] += 1
            self._sum += value

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self._counts)

    @property
    def sum(self) -> float:
        """The sum of what was observed."""
        return self._sum

    def sample(self, labels: tuple[str, ...]) -> Sample:
        """The state now; buckets and sum belong together."""
        with self._lock:
            counts, total = tuple(self._counts), self._sum
        buckets = tuple(zip((*self._bounds, math.inf), accumulate(counts), strict=True))
        return Sample(labels=labels, value=total, buckets=buckets)


Child = TypeVar("Child", CounterChild, GaugeChild, HistogramChild)


class _Instrument(Generic[Child]):
    """A metric: its declaration, and its children by label values within the label budget."""

    def __init__(
        self, name: str, doc: str, labels: tuple[str, ...], new_child: Callable[[], Child], max_series: int
    ) -> None:
        self.name = name
        self.doc = doc
        self.label_names = labels
        self._new_child: Callable[[], Child] = new_child
        self._max_series = max_series
        self._lock = Lock()
        self._children: dict[tuple[str, ...], Child] = {}
        if not labels:
            self._children[()] = new_child()

    def labels(self, *values: str | int) -> Child:
        """The series with these label values, made when it is new; the same object every time.

        Beyond the family's label budget every new combination is the one series whose values are all "overflow".

        Raises:
            MetricError: There are more or fewer values than label names.
        """
        child = self._children.get(values)  # type: ignore[arg-type]  # a value that is no str is simply not found
        return child if child is not None else self._find_or_make(tuple(map(_label_text, values)))

    def _find_or_make(self, values: tuple[str, ...]) -> Child:
        if len(values) != len(self.label_names):
            raise MetricError(
                self.name,
                f"has the labels {self.label_names} and was given {len(values)} value{'s' if len(values) != 1 else ''}",
                "Give one value for each label, in that order.",
            )
        with self._lock:
            if values not in self._children and len(self._children) >= self._max_series:
                values = (OVERFLOW,) * len(self.label_names)
            if (child := self._children.get(values)) is None:
                child = self._children[values] = self._new_child()
            return child

    def remove(self, *values: str | int) -> None:
        """Forget the series with these label values, if there is one."""
        with self._lock:
            self._children.pop(tuple(map(_label_text, values)), None)

    def samples(self) -> tuple[Sample, ...]:
        """The state of every series now."""
        with self._lock:
            children = tuple(self._children.items())
        return tuple(child.sample(values) for values, child in children)


class Counter(_Instrument[CounterChild]):
    """A metric that only goes up. Its name ends in "_total"."""

    kind: Literal["counter"] = "counter"

    def inc(self, amount: float = 1.0) -> None:
        """Count `amount` more; for a counter without labels."""
        self.labels().inc(amount)


class Gauge(_Instrument[GaugeChild]):
    """A metric that goes up and down."""

    kind: Literal["gauge"] = "gauge"
    callback: GaugeCallback | None = None

    def set(self, value: float) -> None:
        """Replace the value; for a gauge without labels, as are `inc` and `dec`."""
        self.labels().set(value)

    def inc(self, amount: float = 1.0) -> None:
        """Add to the value."""
        self.labels().inc(amount)

    def dec(self, amount: float = 1.0) -> None:
        """Take from the value."""
        self.labels().dec(amount)

    def samples(self) -> tuple[Sample, ...]:
        """The state of every series now, read from the callback when there is one."""
        if self.callback is None:
            return super().samples()
        read = self.callback()
        by_labels = read if isinstance(read, Mapping) else {(): read}
        return tuple(
            Sample(labels=tuple(map(_label_text, values)), value=float(value)) for values, value in by_labels.items()
        )


class Histogram(_Instrument[HistogramChild]):
    """A metric that counts observations by size."""

    kind: Literal["histogram"] = "histogram"
    bounds: tuple[float, ...] = ()

    def observe(self, value: float) -> None:
        """Count one observation; for a histogram without labels."""
        self.labels().observe(value)


class Registry:
    """The instruments of one runtime.

    Declaring the same instrument again returns the first one, so that two components may share it.

    Args:
        max_series: Label budget of each metric: series beyond it are counted together, so that a label with
            endless values costs neither memory nor the metrics server.
    """

    def __init__(self, *, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._lock = Lock()
        self._instruments: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
        """A counter; its name ends in "_total".

        Raises:
            MetricError: The declaration is wrong, or the name belongs to another instrument.
        """
        names = checked_labels(name, doc, labels, "counter")
        return self._declare(Counter(name, doc, names, CounterChild, self._max_series))

    def gauge(self, name: str, doc: str, labels: Sequence[str] = (), callback: GaugeCallback | None = None) -> Gauge:
        """A gauge, set by its users or read from a callback.

        Args:
            name: With the unit at its end: "pool_idle_connections", "cache_size_bytes".
            doc: The help text.
            labels: Label names.
            callback: Called at every collection, perhaps in another thread: returns the value of a gauge without
                labels, or a mapping of label values to values.

        Raises:
            MetricError: The declaration is wrong, or the name belongs to another instrument.
        """
        gauge = Gauge(name, doc, checked_labels(name, doc, labels, "gauge"), GaugeChild, self._max_series)
        gauge.callback = callback
        return self._declare(gauge)

    def histogram(
        self, name: str, doc: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> Histogram:
        """A histogram.

        Args:
            name: With the unit at its end: "http_request_duration_seconds".
            doc: The help text.
            labels: Label names.
            buckets: Upper bounds, ascending, each inclusive; infinity is added.

        Raises:
            MetricError: The declaration is wrong, or the name belongs to another instrument.
        """
        names = checked_labels(name, doc, labels, "histogram")
        bounds = checked_bounds(name, buckets)
        histogram = Histogram(name, doc, names, lambda: HistogramChild(bounds), self._max_series)
        histogram.bounds = bounds
        return self._declare(histogram)

    def collect(self) -> Iterator[Family]:
        """Every metric as it is now, in the order of declaration."""
        with self._lock:
            instruments = tuple(self._instruments.values())
        return map(_family, instruments)

    def _declare(self, new: _Declared) -> _Declared:
        with self._lock:
            known = self._instruments.setdefault(new.name, new)
        if isinstance(known, type(new)) and _declaration(known) == _declaration(new):
            return known
        raise MetricError(
            new.name,
            f"is already declared as a {known.kind} with the labels {known.label_names} and other properties than now",
            "Declare it with the same kind, text, labels, buckets and callback, or give it another name.",
        )


_Declared = TypeVar("_Declared", Counter, Gauge, Histogram)


def _declaration(instrument: Counter | Gauge | Histogram) -> tuple[object, ...]:
    callback = instrument.callback if isinstance(instrument, Gauge) else None
    bounds = instrument.bounds if isinstance(instrument, Histogram) else ()
    return instrument.doc, instrument.label_names, callback, bounds


def _family(instrument: Counter | Gauge | Histogram) -> Family:
    samples: tuple[Sample, ...] = ()
    error = None
    try:
        samples = instrument.samples()
    except Exception as raised:  # noqa: BLE001  # one broken callback must not hide every other metric; it is handed on
        error = raised
    return Family(
        name=instrument.name,
        kind=instrument.kind,
        doc=instrument.doc,
        labels=instrument.label_names,
        samples=samples,
        error=error,
    )


def _label_text(value: str | int) -> str:
    """The value as text that every exporter can encode."""
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
