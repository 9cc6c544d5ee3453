"""docs/migrations.md: what a reader does with it works."""

from __future__ import annotations

from pathlib import Path

from tests.docs.walkthrough import Walkthrough

PAGE = Path(__file__).parents[3] / "docs" / "migrations.md"


def test_a_reader_who_does_what_the_page_says_sees_what_it_shows(tmp_path: Path) -> None:
    assert Walkthrough(tmp_path).follow(PAGE.read_text(encoding="utf-8")) == []
