"""Lines out of a stream of bytes, in whatever pieces they arrive."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore_k8s_watch.lines import LineSplitter, LineTooLong


@given(
    lines=st.lists(st.binary(max_size=40).map(lambda one: one.replace(b"\n", b""))),
    cuts=st.lists(st.integers(min_value=0, max_value=2000)),
    rest=st.binary(max_size=20).map(lambda one: one.replace(b"\n", b"")),
)
def test_lines_are_the_same_in_whatever_pieces_they_arrive(lines: list[bytes], cuts: list[int], rest: bytes) -> None:
    stream = b"".join(line + b"\n" for line in lines) + rest
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    splitter = LineSplitter()
    got = [line for start, end in pairwise(edges) for line in splitter.feed(stream[start:end])]
    assert got == [line for line in lines if line.strip()]
    assert splitter.pending == len(rest)


def test_a_line_of_the_limit_is_taken_and_a_longer_one_is_not() -> None:
    splitter = LineSplitter(limit=10)
    assert splitter.feed(b"x" * 10 + b"\n") == [b"x" * 10]
    splitter.feed(b"x" * 10)
    with pytest.raises(LineTooLong):
        splitter.feed(b"x")


def test_a_long_line_in_small_pieces_costs_time_in_proportion() -> None:
    splitter = LineSplitter()
    began = time.perf_counter()
    for _ in range(100_000):
        splitter.feed(b"x" * 80)
    assert splitter.feed(b"\n") == [b"x" * 8_000_000]
    assert time.perf_counter() - began < 5
