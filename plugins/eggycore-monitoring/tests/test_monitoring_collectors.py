"""What is exported: the core's instruments, facts about the runtime, and collectors that may break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from eggycore.testing import FakeClock
from eggycore.timeline import Timeline
from eggycore_monitoring import MetricsService
from eggycore_monitoring.exposition import TextFormat, expose


class RememberedLog:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def warn(self, message: str, /, **fields: object) -> None:
        self.lines.append((message, fields))


@pytest.fixture
def remembered_log(monkeypatch: pytest.MonkeyPatch) -> RememberedLog:
    log = RememberedLog()
    monkeypatch.setattr("eggycore_monitoring.collectors.log", log)
    monkeypatch.setattr("eggycore_monitoring.core_collector.log", log)
    return log


def text_of(service: MetricsService, text_format: TextFormat = "prometheus") -> str:
    return expose(service.registry, text_format, compress=False).body.decode()


def lines_of(service: MetricsService, name: str) -> list[str]:
    return [line for line in text_of(service).splitlines() if line.partition(" ")[0].partition("{")[0] == name]


def fill(runtime: Any) -> None:
    """Every kind of instrument, with labels that need escaping."""
    runtime.metrics.counter("forms_created_total", "Forms created.", ("form",)).labels('a"b\\c\nd/ü').inc(2)
    runtime.metrics.gauge("pool_connections", "Connections.", callback=lambda: 7)
    runtime.metrics.gauge("cache_size_bytes", "Size of the cache.").set(1e15)
    seconds = runtime.metrics.histogram("request_duration_seconds", "Requests.", ("route", "status"), buckets=(0.5, 2))
    for value in (0.1, 1.0, 30.0):
        seconds.labels("/forms/{id}", 200).observe(value)
    runtime.timeline.record("open", "database", 0.0, 0.25)
    runtime.timeline.record("ready", "", 0.0, 1.5)


def test_the_core_s_instruments_are_exported(runtime: Any) -> None:
    fill(runtime)
    service = MetricsService(runtime)
    assert lines_of(service, "forms_created_total") == [r'forms_created_total{form="a\"b\\c\nd/ü"} 2.0']
    assert lines_of(service, "pool_connections") == ["pool_connections 7.0"]
    labels = 'route="/forms/{id}",status="200"'
    assert lines_of(service, "request_duration_seconds_bucket") == [
        f'request_duration_seconds_bucket{{le="0.5",{labels}}} 1.0',
        f'request_duration_seconds_bucket{{le="2.0",{labels}}} 2.0',
        f'request_duration_seconds_bucket{{le="+Inf",{labels}}} 3.0',
    ]
    assert lines_of(service, "request_duration_seconds_count") == [f"request_duration_seconds_count{{{labels}}} 3.0"]
    assert lines_of(service, "request_duration_seconds_sum") == [f"request_duration_seconds_sum{{{labels}}} 31.1"]
    assert "_created{" not in text_of(service)


def test_facts_about_the_runtime_are_exported(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eggycore_monitoring.runtime_collector.log", SimpleNamespace(dropped=lambda: 17))
    monkeypatch.setattr("eggycore_monitoring.runtime_collector.platform.python_version", lambda: "3.11.2")
    service = MetricsService(runtime)
    names = ("build_info", "plugin_info", "config_info", "config_generation", "log_dropped_lines_total")
    assert [line for name in names for line in lines_of(service, f"eggycore_{name}")] == [
        'eggycore_build_info{python="3.11.2",version="0.1.0"} 1.0',
        'eggycore_plugin_info{dist="eggycore-monitoring",plugin="monitoring",state="active",version="0.1.0"} 1.0',
        'eggycore_plugin_info{dist="acme-mail",plugin="mail",state="broken",version="2.1"} 1.0',
        'eggycore_config_info{digest="0123456789ab"} 1.0',
        "eggycore_config_generation 3.0",
        "eggycore_log_dropped_lines_total 17.0",
    ]


def test_the_timings_of_the_start_are_exported_and_those_of_restarts_and_the_way_down_are_not(runtime: Any) -> None:
    runtime.timeline = Timeline(clock=FakeClock())
    for phase, component, seconds in (
        ("open", "database", 0.25),
        ("start", "tick", 0.5),
        ("start", "tick", 99.0),
        ("ready", "", 1.5),
        ("close", "database", 3.0),
    ):
        runtime.timeline.record(phase, component, 0.0, seconds)
    assert lines_of(MetricsService(runtime), "eggycore_startup_seconds") == [
        'eggycore_startup_seconds{component="database",phase="open"} 0.25',
        'eggycore_startup_seconds{component="tick",phase="start"} 0.5',
        'eggycore_startup_seconds{component="runtime",phase="ready"} 1.5',
    ]


@pytest.mark.parametrize("is_busy", [False, True], ids=["empty", "busy"])
def test_promtool_accepts_the_metrics(runtime: Any, promtool: Callable[[bytes], str], is_busy: bool) -> None:
    if is_busy:
        fill(runtime)
    assert promtool(text_of(MetricsService(runtime)).encode()) == ""


@pytest.mark.parametrize("is_busy", [False, True], ids=["empty", "busy"])
def test_the_parsers_of_both_formats_accept_the_metrics(runtime: Any, is_busy: bool) -> None:
    if is_busy:
        fill(runtime)
    service = MetricsService(runtime)
    names = {family.name for family in parse_prometheus(text_of(service))}
    openmetrics = {family.name: family for family in parse_openmetrics(text_of(service, "openmetrics"))}
    assert {"eggycore_build_info", "eggycore_startup_seconds", "python_gc_collections"} <= names
    assert openmetrics["eggycore_startup_seconds"].unit == "seconds"
    if is_busy:
        assert openmetrics["request_duration_seconds"].unit == "seconds"


def test_the_process_is_exported_where_it_is_known(runtime: Any) -> None:
    found = lines_of(MetricsService(runtime), "process_resident_memory_bytes")
    assert len(found) == 1
    assert float(found[0].split()[1]) > 1_000_000


def test_a_callback_that_fails_is_logged_once_until_it_works_again(runtime: Any, remembered_log: RememberedLog) -> None:
    answers: list[float | Exception] = [error := RuntimeError("gone"), RuntimeError(), 1.0, again := RuntimeError()]

    def read() -> float:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    runtime.metrics.gauge("queue_messages", "Messages.", callback=read)
    service = MetricsService(runtime)
    assert [lines_of(service, "queue_messages") for _ in range(4)] == [[], [], ["queue_messages 1.0"], []]
    message = "a metric's callback fails"
    assert remembered_log.lines == [
        (message, {"metric": "queue_messages", "exc": error}),
        (message, {"metric": "queue_messages", "exc": again}),
    ]


class QueueCollector:
    """A collector of the app, which may break."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("queue_messages", "Messages.", 5)
        if self.error is not None:
            raise self.error


def test_a_collector_of_the_app_is_exported_and_hides_nothing_when_it_breaks(
    runtime: Any, remembered_log: RememberedLog
) -> None:
    service, collector = MetricsService(runtime), QueueCollector()
    service.register_collector(collector)
    assert lines_of(service, "queue_messages") == ["queue_messages 5.0"]
    collector.error = error = RuntimeError("gone")
    for _ in range(3):
        assert lines_of(service, "queue_messages") == []
        assert lines_of(service, "eggycore_config_generation") == ["eggycore_config_generation 3.0"]
    name = f"{QueueCollector.__module__}.QueueCollector"
    assert remembered_log.lines == [
        ("a metrics collector fails; its metrics are missing", {"collector": name, "exc": error})
    ]
    collector.error = None
    assert lines_of(service, "queue_messages") == ["queue_messages 5.0"]


def test_a_collector_that_describes_itself_is_refused_when_its_name_is_taken(runtime: Any) -> None:
    class Described(QueueCollector):
        describe = QueueCollector.collect

    service = MetricsService(runtime)
    service.register_collector(Described())
    with pytest.raises(ValueError, match="queue_messages"):
        service.register_collector(Described())


@pytest.mark.parametrize("collector", [object(), QueueCollector])
def test_what_cannot_collect_is_refused(runtime: Any, collector: Any) -> None:
    with pytest.raises(TypeError, match=r"register_collector\(\) takes an object with collect\(\), not <"):
        MetricsService(runtime).register_collector(collector)


def test_a_collector_with_a_name_of_the_core_does_not_spoil_the_scrape(
    runtime: Any, promtool: Callable[[bytes], str]
) -> None:
    runtime.metrics.gauge("queue_messages", "Messages.").set(1)
    service = MetricsService(runtime)
    service.register_collector(QueueCollector())
    assert lines_of(service, "queue_messages") == ["queue_messages 1.0"]
    assert promtool(text_of(service).encode()) == ""


def test_two_runtimes_never_mix(runtime: Any) -> None:
    one, other = MetricsService(runtime), MetricsService(runtime)
    one.register_collector(QueueCollector())
    assert lines_of(other, "queue_messages") == []
    assert one.registry is one.registry
    assert one.registry is not other.registry
