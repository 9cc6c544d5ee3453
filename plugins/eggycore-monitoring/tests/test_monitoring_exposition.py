"""Which format and coding a scraper gets."""

from __future__ import annotations

import gzip

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from eggycore_monitoring.exposition import TextFormat, expose, wanted_format, wants_gzip

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "prometheus"),
        ("*/*", "prometheus"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "prometheus"),
        ("text/plain", "prometheus"),
        (PROMETHEUS_2, "openmetrics"),
        (PROMETHEUS_3, "openmetrics"),
        ("application/openmetrics-text", "openmetrics"),
        ("Application/OpenMetrics-Text; Version=1.0.0", "openmetrics"),
        ("application/openmetrics-text; version=0.0.1", "prometheus"),
        ("application/openmetrics-text; version=2.0.0", "prometheus"),
        ("application/openmetrics-text; q=0", "prometheus"),
        ("application/openmetrics-text; q=0.3, text/plain; q=0.5", "prometheus"),
        ("application/openmetrics-text; q=high", "prometheus"),
        (";;,=;q", "prometheus"),
    ],
)
def test_the_format_is_what_the_scraper_likes_best(accept: str, expected: TextFormat) -> None:
    assert wanted_format(accept) == expected


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [("", False), ("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.0", False), ("br", False)],
)
def test_gzip_is_used_when_it_is_accepted(accept_encoding: str, expected: bool) -> None:
    assert wants_gzip(accept_encoding) is expected


def test_the_body_is_the_text_of_the_registry() -> None:
    collectors = CollectorRegistry()
    Gauge("queue_messages", "Messages waiting.", registry=collectors).set(3)
    text = b"# HELP queue_messages Messages waiting.\n# TYPE queue_messages gauge\nqueue_messages 3.0\n"
    plain = expose(collectors, "prometheus", compress=False)
    assert (plain.content_type, plain.body) == ("text/plain; version=0.0.4; charset=utf-8", text)
    openmetrics = expose(collectors, "openmetrics", compress=True)
    assert openmetrics.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert gzip.decompress(openmetrics.body) == text + b"# EOF\n"


def test_of_two_families_of_one_name_the_first_is_kept() -> None:
    class Twice(CollectorRegistry):
        def collect(self):
            for value in (1, 2):
                collectors = CollectorRegistry()
                Counter("forms", "Forms.", registry=collectors).inc(value)
                yield from collectors.collect()

    body = expose(Twice(), "prometheus", compress=False).body
    assert body.count(b"forms_total 1.0") == 1
    assert b"forms_total 2.0" not in body
