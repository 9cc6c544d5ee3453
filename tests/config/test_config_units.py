"""Durations and sizes: what is written is read back, and what is neither is refused without being shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config.units import (
    SIZE_UNITS,
    TIME_UNITS,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@given(st.just(0.0) | st.floats(min_value=1e-9, max_value=1e12))
def test_a_duration_that_was_written_is_read_back_exactly(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=10**18))
def test_a_size_that_was_written_is_read_back_exactly(count: int) -> None:
    assert parse_size(format_size(count)) == count


@given(st.integers(min_value=0, max_value=10**6), st.sampled_from(sorted(TIME_UNITS)))
def test_a_unit_and_a_plain_number_in_that_unit_mean_the_same(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == parse_duration(str(number), unit)
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * float(TIME_UNITS[unit]))


@given(st.integers(min_value=0, max_value=10**6), st.sampled_from(sorted(SIZE_UNITS)))
def test_a_size_may_be_written_in_any_case_and_with_a_space(number: int, unit: str) -> None:
    expected = number * SIZE_UNITS[unit]
    assert parse_size(f"{number}{unit}") == parse_size(f"{number} {unit.lower()}") == expected
    assert parse_size(str(number), unit) == expected


@given(st.integers(0, 100), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_may_have_several_parts(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@given(st.text())
def test_any_text_is_a_finite_duration_or_is_refused_without_being_shown(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        assert str(error) in ("not a duration", "a duration without a unit")
    else:
        assert math.isfinite(seconds) and seconds >= 0


@given(st.text())
def test_any_text_is_a_size_or_is_refused_without_being_shown(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except ValueError as error:
        assert str(error) in ("not a size", "a size without a unit")


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "5S", "s", "5s5", "1e3s", "٣s", "5s\n", "inf", "nan"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "-5MB", "5M", "MB", "5MB5", "٣MB", "5MB\n"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0", "0.0", "00"])
def test_zero_needs_no_unit(text: str) -> None:
    assert parse_duration(text) == 0
    assert parse_size(text) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (25, "25s"),
        (90, "90s"),
        (300, "5m"),
        (86400, "1d"),
        (1.5, "1500ms"),
        (1e-9, "0.000000001s"),
    ],
)
def test_a_duration_is_written_in_the_largest_unit_that_is_exact(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (1, "1B"), (1000, "1KB"), (65536, "64KiB"), (512_000_000, "512MB"), (1001, "1001B")]
)
def test_a_size_is_written_in_the_largest_unit_that_is_exact(count: int, text: str) -> None:
    assert format_size(count) == text
