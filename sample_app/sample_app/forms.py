"""Forms: kept in the database, read through the cache. HTTP and gRPC share what is here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypedDict

from peewee import AutoField, CharField, TextField

from eggycore.metrics import Registry
from eggycore_cache import CacheService
from eggycore_db import Database, Model, Repository, register_repository
from sample_app.settings import FormsSettings

__all__ = ["Form", "FormRow", "Forms", "Page"]


class FormRow(Model):
    """A row of the table of forms."""

    id = AutoField()
    title = CharField(max_length=200)
    description = TextField(null=True)

    class Meta:
        table_name = "forms"


@register_repository
class FormRepository(Repository):
    """Has the table made when the database is opened."""

    model = FormRow


class Form(TypedDict):
    """A form as callers see it."""

    id: int
    title: str
    description: str | None


class Page(TypedDict):
    """Some forms, and what to ask the next page to come after: None on the last page."""

    items: list[Form]
    next: int | None


class Forms:
    """Stores and reads forms.

    Args:
        db: Where they are kept.
        cache: Where single forms are kept for a while once they were read; a form never changes.
        settings: How they are kept and listed, read for each request: a reload may change it.
        metrics: Where new forms are counted.
    """

    def __init__(
        self, db: Database, cache: CacheService, settings: Callable[[], FormsSettings], metrics: Registry
    ) -> None:
        self._db = db
        self._cache = cache
        self._settings = settings
        self._created = metrics.counter("forms_created_total", "Forms that were stored.")

    @property
    def page_limit(self) -> int:
        """Most forms of one page."""
        return self._settings().page_limit

    async def create(self, title: str, description: str | None) -> Form:
        """Store a form."""
        row = await self._db.create(FormRow, title=title, description=description)
        self._created.inc()
        return _form(row)

    async def get(self, form_id: int) -> Form | None:
        """The form with this id, or None."""
        ttl = self._settings().cache_ttl
        return await self._cache.get_or_set(f"form:{form_id}", partial(self._read, form_id), ttl)

    async def page(self, limit: int, after: int) -> Page:
        """At most `limit` forms whose ids are greater than `after`, the oldest first."""
        query = FormRow.select().where(FormRow.id > after).order_by(FormRow.id).limit(limit + 1)
        rows = await self._db.list(query)
        items = [_form(row) for row in rows[:limit]]
        return Page(items=items, next=items[-1]["id"] if len(rows) > limit else None)

    async def _read(self, form_id: int) -> Form | None:
        row = await self._db.first(FormRow.select().where(FormRow.id == form_id))
        return None if row is None else _form(row)

    async def check(self) -> None:
        """Raise unless forms can be read."""
        await self._db.exists(FormRow.select())


def _form(row: FormRow) -> Form:
    return Form(id=row.id, title=row.title, description=row.description)
