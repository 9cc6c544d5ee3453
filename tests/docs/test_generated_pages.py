"""docs/ cannot lie: what is made from the code is made from this code, and nothing is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.error_examples import SECTIONS
from docs.generate import HOOKS, raised_errors, renewed, signature
from eggycore import hookspecs

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_the_generated_parts_of_a_page_are_up_to_date(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert renewed(text) == text, f"docs/{page} is out of date: make docs"


def test_every_hook_is_documented_with_its_exact_signature() -> None:
    specified = {name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")}
    assert {hook.__name__ for hook in HOOKS} == specified
    page = (DOCS / "hooks.md").read_text(encoding="utf-8")
    for hook in HOOKS:
        assert f"## {hook.__name__}\n\n```text\n{signature(hook)}\n```" in page


def test_every_error_has_an_example_in_docs_error_examples() -> None:
    shown = [type(example) for examples in SECTIONS.values() for example in examples]
    missing = raised_errors() - set(shown)
    assert not missing, "add an example of each to docs/error_examples.py, then: make docs"
    assert len(shown) == len(set(shown)), "one example of each"


def test_every_page_is_on_the_list() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    missing = [path.name for path in DOCS.glob("*.md") if path.name != "index.md" and f"]({path.name})" not in index]
    assert missing == []
