"""Writes one batch in a worker thread: as a whole, or, when a row is at fault, everything but that row."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import peewee

from eggycore_db.bulk_faults import RowError, is_of_a_row, row_error
from eggycore_db.bulk_rows import Shape, Unwritable, columns_of, given_by
from eggycore_db.bulk_statements import Statement
from eggycore_db.engine import Engine
from eggycore_db.sql import run_sql

__all__ = ["Batch", "Outcome", "Plan", "Planner", "Writing"]

ATTEMPTS = 4
"""How often a batch is tried that loses against other transactions."""

BACKOFF = 0.02
"""Seconds: bound of the delay before it is tried again, doubled each time with full jitter."""

SHAPES_KEPT = 256
"""Sets of names whose plan is kept; rows that make up more of them are planned each anew."""

NO_ROW = "no row has this key"


@dataclass(frozen=True, eq=False)
class Plan:
    """How rows with the same names are written.

    Args:
        shape: Their columns.
        statement: What writes them.
        keys: Places in the shape of what must not be met twice in one call of the statement.
        auto: The key that the database makes for rows that have None there; "" for none.
    """

    shape: Shape
    statement: Statement
    keys: tuple[int, ...] = ()
    auto: str = ""


Planner: TypeAlias = Callable[[tuple[str, ...]], Plan]
"""Makes the plan for rows that have these names; raises Unwritable when they cannot be written."""


@dataclass(eq=False)
class Batch:
    """Rows that are written in one transaction.

    Args:
        start: The place of the first in what was given.
        rows: The rows.
        committing: Whether everything is written and "commit" may have been sent.
    """

    start: int
    rows: list[Any]
    committing: bool = False


@dataclass
class Outcome:
    """What came of a batch."""

    written: int = 0
    errors: list[RowError] = field(default_factory=list)


@dataclass(eq=False)
class _Part:
    """Rows that go into one statement: their places in the whole, and their values."""

    plan: Plan
    places: Sequence[int]
    rows: Sequence[Sequence[Any]]

    def cut(self) -> tuple[_Part, _Part]:
        middle = len(self.rows) // 2
        return (
            _Part(self.plan, self.places[:middle], self.rows[:middle]),
            _Part(self.plan, self.places[middle:], self.rows[middle:]),
        )


class Writing:
    """Writes batches of one model in one way.

    Args:
        engine: The database's.
        model: Where the rows go.
        planner: See there. A race of two threads plans the same twice, and no more.
        in_order: Whether rows that follow each other may meet the same row of the database, and the last has to win.
    """

    def __init__(self, engine: Engine, model: type[peewee.Model], planner: Planner, *, in_order: bool) -> None:
        self._engine = engine
        self.copies = engine.kind == "postgresql" and not in_order
        """Whether it writes faster on a connection on which the driver itself waits."""
        self.table: str = model._meta.table_name
        self._model = model
        self._planner = planner
        self._in_order = in_order
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._refers_to_itself = any(
            isinstance(one, peewee.ForeignKeyField) and one.rel_model is model for one in model._meta.sorted_fields
        )

    def write(self, batch: Batch) -> Outcome:
        """Write a batch in a transaction, or inside a savepoint of the one that is open.

        Raises:
            Exception: What ended it, and is no row's fault; nothing of it is written then, unless it was committing.
        """
        nested = self._engine.peewee.in_transaction()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._write(batch, nested)
            except peewee.PeeweeException as error:
                if nested or attempt == ATTEMPTS or not self._engine.conflict(error):
                    raise
            time.sleep(random.uniform(0, BACKOFF * 2**attempt))  # jitter
        raise AssertionError("the last attempt returns or raises")

    def _write(self, batch: Batch, nested: bool) -> Outcome:
        outcome = Outcome()
        batch.committing = False
        parts = list(self._parts(batch, outcome))
        if not parts:
            return outcome
        refused = list(outcome.errors)
        fast = any(part.plan.statement.fast for part in parts)
        try:
            with self._all_or_none():
                for part in parts:
                    self._note(part, part.plan.statement.write(part.rows, fast=part.plan.statement.fast), outcome)
                batch.committing = True
            return outcome
        except Exception as error:
            if not self._is_worth_a_look(error, fast):
                raise
        batch.committing = False
        outcome = Outcome(errors=refused)
        with self._all_or_none():
            if self._engine.kind == "postgresql" and not nested:  # what would fail at the end is to fail at its row
                run_sql(self._engine.peewee, "SET CONSTRAINTS ALL IMMEDIATE")
            for part in parts:
                self._row_by_row(part, outcome)
            batch.committing = True
        if fast and len(outcome.errors) == len(refused):  # it was not the rows that COPY refused
            for part in parts:
                part.plan.statement.fast = False
        return outcome

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """A transaction, or a savepoint inside one. What ended it is raised, not what rolling back says after that."""
        ended_by: Exception | None = None
        try:
            with self._engine.peewee.atomic():
                try:
                    yield
                except Exception as error:
                    ended_by = error
                    raise
        except Exception as error:
            if ended_by is None or error is ended_by:
                raise
            raise ended_by from error

    def _is_worth_a_look(self, error: Exception, fast: bool) -> bool:
        """Whether rows may be at fault, or the fast way, so that another way may do."""
        if self._engine.fault(error) is not None or self._engine.conflict(error):
            return False
        return is_of_a_row(self._engine.kind, error) or (fast and isinstance(error, peewee.PeeweeException))

    def _row_by_row(self, part: _Part, outcome: Outcome) -> None:
        before = len(outcome.errors)
        failed = self._searched(part, outcome, known=False)
        while failed and self._refers_to_itself:  # a row may refer to one that stands after it
            del outcome.errors[before:]
            left: list[_Part] = []
            for one in failed:
                left += self._searched(one, outcome, known=False)
            if len(left) == len(failed):
                return
            failed = left

    def _searched(self, part: _Part, outcome: Outcome, *, known: bool) -> list[_Part]:
        """Write what can be written of it, by halves.

        Args:
            known: Whether it is known that not all of it can, because its other half could.

        Returns:
            Parts of one row each, which could not.
        """
        if not known or len(part.rows) == 1:
            try:
                with self._all_or_none():
                    missing = part.plan.statement.write(part.rows, fast=False)
            except Exception as error:
                if self._engine.fault(error) or self._engine.conflict(error):
                    raise
                if not is_of_a_row(self._engine.kind, error):
                    raise
                if len(part.rows) == 1:
                    outcome.errors.append(row_error(part.places[0], error))
                    return [part]
            else:
                self._note(part, missing, outcome)
                return []
        first, second = part.cut()
        failed = self._searched(first, outcome, known=False)
        return failed + self._searched(second, outcome, known=not failed)

    def _note(self, part: _Part, missing: Sequence[int], outcome: Outcome) -> None:
        outcome.written += len(part.rows) - len(missing)
        outcome.errors += [RowError(part.places[place], NO_ROW) for place in missing]

    # --- from rows to parts

    def _parts(self, batch: Batch, outcome: Outcome) -> Iterator[_Part]:
        for plan, places, rows in self._runs(batch, outcome):
            part = self._converted(plan, places, rows, outcome)
            if part.rows:
                yield from _without_repetition(part) if plan.statement.distinct else (part,)

    def _runs(
        self, batch: Batch, outcome: Outcome
    ) -> Iterator[tuple[Plan, Sequence[int], Sequence[Mapping[str, Any]]]]:
        """Rows of one plan together: all of the batch, or those that follow each other where the order counts."""
        by_plan: dict[Plan, tuple[list[int], list[Mapping[str, Any]]]] = {}
        latest: Plan | None = None
        for place, row in enumerate(batch.rows, batch.start):
            try:
                given = given_by(row, self._model)
                plan = self._plan(given)
            except Unwritable as refusal:
                outcome.errors.append(RowError(place, str(refusal)))
                continue
            if plan is not latest:
                if self._in_order and latest is not None:
                    yield latest, *by_plan.pop(latest)
                latest = plan
                places, rows = by_plan.setdefault(plan, ([], []))
            places.append(place)
            rows.append(given)
        for plan, (places, rows) in by_plan.items():
            yield plan, places, rows

    def _plan(self, given: Mapping[str, Any]) -> Plan:
        names = tuple(given)
        plan = self._planned(names)
        if plan.auto and given[plan.auto] is None:
            plan = self._planned(tuple(name for name in names if name != plan.auto))
        return plan

    def _planned(self, names: tuple[str, ...]) -> Plan:
        if (plan := self._plans.get(names)) is None:
            plan = self._planner(names)
            if len(self._plans) < SHAPES_KEPT:
                self._plans[names] = plan
        return plan

    def _converted(
        self, plan: Plan, places: Sequence[int], rows: Sequence[Mapping[str, Any]], outcome: Outcome
    ) -> _Part:
        try:
            columns = columns_of(plan.shape, rows, self._engine.kind)
            return _Part(plan, places, list(zip(*columns, strict=True)))
        except Exception as error:  # noqa: BLE001  # the border to a field's own code: one of these rows is at fault
            if len(rows) == 1:
                outcome.errors.append(RowError(places[0], str(error) or type(error).__name__))
                return _Part(plan, (), ())
        middle = len(rows) // 2
        first = self._converted(plan, places[:middle], rows[:middle], outcome)
        second = self._converted(plan, places[middle:], rows[middle:], outcome)
        return _Part(plan, [*first.places, *second.places], [*first.rows, *second.rows])


def _without_repetition(part: _Part) -> Iterator[_Part]:
    """Parts in which no key is met twice, so that of two rows with one key the last wins."""
    seen: set[Any] = set()
    start = 0
    for place, row in enumerate(part.rows):
        key = tuple(map(_comparable, (row[number] for number in part.plan.keys)))
        if key in seen:
            yield _Part(part.plan, part.places[start:place], part.rows[start:place])
            start = place
            seen.clear()
        seen.add(key)
    yield _Part(part.plan, part.places[start:], part.rows[start:])


def _comparable(value: Any) -> Any:
    return value if value.__hash__ is not None else repr(value)
