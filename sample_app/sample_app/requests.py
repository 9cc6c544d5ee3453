"""What may be asked for, by HTTP and by gRPC alike, and everything that is wrong when something else is."""

from __future__ import annotations

__all__ = ["DEFAULT_LIMIT", "ID_DIGITS", "Invalid", "form_fields", "page_bounds"]

DEFAULT_LIMIT = 20
TITLE_LENGTH = 200
ID_DIGITS = 18
"""At most, so that every id fits into 64 bits."""


class Invalid(Exception):
    """Some fields are wrong; `errors` holds every one."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self.errors = [{"field": field, "reason": reason} for field, reason in reasons.items()]
        super().__init__("; ".join(f"{field} {reason}" for field, reason in reasons.items()))


def form_fields(title: object, description: object) -> tuple[str, str | None]:
    """Title and description of a new form; raises Invalid."""
    title_fits = isinstance(title, str) and 1 <= len(title) <= TITLE_LENGTH
    if isinstance(title, str) and title_fits and isinstance(description, str | None):
        return title, description
    reasons = {}
    if not title_fits:
        reasons["title"] = "is missing" if title is None else f"is not a text of 1 to {TITLE_LENGTH} characters"
    if not isinstance(description, str | None):
        reasons["description"] = "is not a text"
    raise Invalid(reasons)


def page_bounds(limit: str | int, after: str | int, most: int) -> tuple[int, int]:
    """How many forms at most, and the id that they come after; raises Invalid."""
    reasons = {}
    if not 1 <= (count := _number(limit)) <= most:
        reasons["limit"] = f"is not a whole number from 1 to {most}"
    if (last := _number(after)) < 0:
        reasons["after"] = "is not the `next` of a page"
    if reasons:
        raise Invalid(reasons)
    return count, last


def _number(value: str | int) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= ID_DIGITS else -1
