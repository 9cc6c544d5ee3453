"""Instruments, label budget, declarations and collection of `eggycore.metrics`."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.diagnostics import diagnose
from eggycore.metrics import DEFAULT_BUCKETS, OVERFLOW, Family, MetricError, Registry, Sample


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def only(registry: Registry) -> Family:
    (family,) = registry.collect()
    return family


def test_a_counter_counts(registry: Registry) -> None:
    forms = registry.counter("forms_created_total", "Forms created.")
    forms.inc()
    forms.inc(2)
    assert only(registry) == Family(
        name="forms_created_total",
        kind="counter",
        doc="Forms created.",
        labels=(),
        samples=(Sample(labels=(), value=3.0),),
    )


def test_a_counter_never_goes_down(registry: Registry) -> None:
    with pytest.raises(ValueError, match="a counter only goes up; use a gauge for what goes down"):
        registry.counter("forms_created_total", "Forms created.").inc(-1)


def test_an_unused_instrument_without_labels_is_zero_and_one_with_labels_is_empty(registry: Registry) -> None:
    registry.counter("a_total", "A.")
    registry.counter("b_total", "B.", ("kind",))
    assert [family.samples for family in registry.collect()] == [(Sample(labels=(), value=0.0),), ()]


def test_a_gauge_goes_up_and_down(registry: Registry) -> None:
    gauge = registry.gauge("pool_connections", "Connections.", ("state",))
    gauge.labels("idle").set(4)
    gauge.labels("idle").inc()
    gauge.labels("idle").dec(3)
    assert gauge.labels("idle").value == 2.0


def test_a_gauge_reads_its_callback_at_every_collection(registry: Registry) -> None:
    sizes = iter((3, 5))
    registry.gauge("queue_messages", "Messages waiting.", callback=lambda: next(sizes))
    assert only(registry).samples == (Sample(labels=(), value=3.0),)
    assert only(registry).samples == (Sample(labels=(), value=5.0),)


def test_a_callback_of_a_gauge_with_labels_returns_all_its_series(registry: Registry) -> None:
    registry.gauge("pool_connections", "Connections.", ("state",), callback=lambda: {("idle",): 2, ("busy",): 1})
    assert only(registry).samples == (Sample(labels=("idle",), value=2.0), Sample(labels=("busy",), value=1.0))


def test_a_broken_callback_hides_no_other_metric(registry: Registry) -> None:
    error = RuntimeError("gone")

    def read() -> float:
        raise error

    registry.gauge("broken_bytes", "Broken.", callback=read)
    registry.counter("fine_total", "Fine.").inc()
    broken, fine = registry.collect()
    assert (broken.samples, broken.error) == ((), error)
    assert (fine.samples, fine.error) == ((Sample(labels=(), value=1.0),), None)


def test_a_histogram_counts_into_inclusive_cumulative_buckets(registry: Registry) -> None:
    seconds = registry.histogram("job_seconds", "Jobs.", buckets=(1, 2))
    for value in (0.5, 1.0, 1.5, 2.0, 99.0):
        seconds.observe(value)
    assert only(registry).samples == (Sample(labels=(), value=104.0, buckets=((1.0, 2), (2.0, 4), (math.inf, 5))),)


@given(st.lists(st.floats(min_value=0, max_value=100, allow_nan=False)))
def test_every_observation_is_in_every_bucket_that_holds_it(values: list[float]) -> None:
    instruments = Registry()
    child = instruments.histogram("job_seconds", "Jobs.").labels()
    for value in values:
        child.observe(value)
    (sample,) = only(instruments).samples
    assert sample.buckets == tuple(
        (bound, sum(value <= bound for value in values)) for bound in (*DEFAULT_BUCKETS, math.inf)
    )
    assert child.count == len(values)
    assert child.sum == pytest.approx(math.fsum(values))


def test_a_child_is_the_same_object_every_time_and_its_labels_are_text(registry: Registry) -> None:
    requests = registry.counter("requests_total", "Requests.", ("method", "status"))
    assert requests.labels("GET", 200) is requests.labels("GET", "200")
    requests.labels("GET", 200).inc()
    assert only(registry).samples == (Sample(labels=("GET", "200"), value=1.0),)


def test_a_label_that_cannot_be_encoded_is_replaced(registry: Registry) -> None:
    requests = registry.counter("requests_total", "Requests.", ("route",))
    assert requests.labels("/\udc80") is requests.labels("/?")
    assert requests.labels("/straße") is not requests.labels("/stra?e")


def test_beyond_the_label_budget_series_are_counted_together() -> None:
    instruments = Registry(max_series=2)
    requests = instruments.counter("requests_total", "Requests.", ("method", "route"))
    for number in range(10):
        requests.labels("GET", f"/{number}").inc()
    requests.labels("GET", "/0").inc()
    assert only(instruments).samples == (
        Sample(labels=("GET", "/0"), value=2.0),
        Sample(labels=("GET", "/1"), value=1.0),
        Sample(labels=(OVERFLOW, OVERFLOW), value=8.0),
    )


def test_a_removed_series_is_forgotten_and_leaves_room() -> None:
    instruments = Registry(max_series=1)
    gauge = instruments.gauge("check_up", "Checks.", ("name",))
    gauge.labels("db").set(1)
    gauge.remove("db")
    gauge.remove("never there")
    gauge.labels("cache").set(1)
    assert only(instruments).samples == (Sample(labels=("cache",), value=1.0),)


def test_the_same_declaration_gives_the_same_instrument(registry: Registry) -> None:
    first = registry.histogram("job_seconds", "Jobs.", ("kind",))
    assert registry.histogram("job_seconds", "Jobs.", ["kind"]) is first


def test_another_declaration_of_the_same_name_is_refused(registry: Registry) -> None:
    registry.gauge("jobs", "Jobs.", ("kind",))
    with pytest.raises(MetricError) as raised:
        registry.gauge("jobs", "Jobs.", ("state",))
    told = diagnose(raised.value)
    assert told.description == (
        "Metric 'jobs' is already declared as a gauge with the labels ('kind',) and other properties than now."
    )
    assert told.action == (
        "Declare it with the same kind, text, labels, buckets and callback, or give it another name."
    )
    with pytest.raises(MetricError, match="already declared as a gauge"):
        registry.histogram("jobs", "Jobs.", ("kind",))


def test_other_buckets_are_another_declaration(registry: Registry) -> None:
    registry.histogram("job_seconds", "Jobs.")
    with pytest.raises(MetricError, match="already declared as a histogram"):
        registry.histogram("job_seconds", "Jobs.", buckets=(1, 2))


@pytest.mark.parametrize(
    ("kind", "name", "doc", "labels", "message"),
    [
        ("counter", "forms", "Forms.", (), "Metric 'forms' is a counter without the ending _total."),
        ("gauge", "forms_total", "Forms.", (), "Metric 'forms_total' is a gauge with the reserved ending _total."),
        ("histogram", "form_sum", "Forms.", (), "Metric 'form_sum' is a histogram with the reserved ending _sum."),
        ("gauge", "formCount", "Forms.", (), "Metric 'formCount' has a name that is not allowed."),
        ("gauge", "2forms", "Forms.", (), "Metric '2forms' has a name that is not allowed."),
        ("gauge", "forms", " ", (), "Metric 'forms' has no text."),
        ("gauge", "forms", "Forms.", ("__name",), "Metric 'forms' has a label '__name' that is not allowed."),
        ("histogram", "forms", "Forms.", ("le",), "Metric 'forms' has a label 'le' that is not allowed."),
        ("gauge", "forms", "Forms.", ("a", "a"), "Metric 'forms' names a label twice."),
    ],
)
def test_a_wrong_declaration_is_refused(
    registry: Registry, kind: str, name: str, doc: str, labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(MetricError) as raised:
        getattr(registry, kind)(name, doc, labels)
    assert str(raised.value) == message
    assert list(registry.collect()) == []


@pytest.mark.parametrize("buckets", [(), (2, 1), (1, 1), (math.inf,)])
def test_buckets_must_ascend(registry: Registry, buckets: tuple[float, ...]) -> None:
    with pytest.raises(MetricError, match="has buckets that do not ascend"):
        registry.histogram("job_seconds", "Jobs.", buckets=buckets)


def test_a_wrong_number_of_label_values_is_refused(registry: Registry) -> None:
    counter = registry.counter("requests_total", "Requests.", ("method", "route"))
    with pytest.raises(MetricError) as raised:
        counter.labels("GET")
    assert str(raised.value) == "Metric 'requests_total' has the labels ('method', 'route') and was given 1 value."
    with pytest.raises(MetricError, match="was given 0 values"):
        counter.inc()


@pytest.mark.usefixtures("hasty_threads")
def test_nothing_is_lost_when_many_threads_count(registry: Registry) -> None:
    counter = registry.counter("jobs_total", "Jobs.", ("kind",))
    seconds = registry.histogram("job_seconds", "Jobs.")
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for number in range(2000):
            counter.labels(str(number % 7)).inc()
            seconds.observe(0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        list(registry.collect())
    for thread in threads:
        thread.join()
    counted, observed = registry.collect()
    assert sum(sample.value for sample in counted.samples) == 16_000
    assert observed.samples[0].value == 8_000
    assert observed.samples[0].buckets[-1] == (math.inf, 16_000)
