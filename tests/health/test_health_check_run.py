"""One run of a check: what its result means, its timeout, and that runs never pile up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from functools import partial

import pytest

from eggycore.check_run import CheckRun, Outcome, shown
from eggycore.errors import CheckFailed, Degraded
from eggycore.types import HealthCheck

TENANT: ContextVar[str] = ContextVar("TENANT", default="nobody")


def raising(error: BaseException) -> Callable[[], None]:
    def check() -> None:
        raise error

    return check


async def outcome_of(check: Callable[[], object], timeout: float = 30.0) -> Outcome:
    return await CheckRun(HealthCheck(name="database", check=check, timeout=timeout)).once()


async def passes() -> None:
    await asyncio.sleep(0)


class AsyncCallable:
    async def __call__(self) -> None:
        asyncio.get_running_loop()


@pytest.mark.parametrize(
    "check",
    [lambda: None, lambda: 1, passes, partial(passes), lambda: passes(), AsyncCallable()],
    ids=["sync", "sync with a value", "async", "partial", "sync that returns a coroutine", "async callable"],
)
async def test_a_check_that_returns_passes(check: Callable[[], object]) -> None:
    assert await outcome_of(check) == Outcome(kind="passed")


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError()])
async def test_a_check_that_ends_itself_ends_nothing_else(error: BaseException) -> None:
    async def check() -> None:
        raise error

    outcome = await outcome_of(check)
    assert (outcome.kind, outcome.reason) == ("failed", type(error).__name__)


async def test_a_check_that_returns_false_fails() -> None:
    assert await outcome_of(lambda: False) == Outcome(kind="failed", reason="it returned False")


async def test_a_failure_shows_the_reason_its_author_wrote() -> None:
    error = CheckFailed("17 migrations are pending")
    assert await outcome_of(raising(error)) == Outcome(kind="failed", reason="17 migrations are pending")


async def test_the_log_shows_what_such_a_failure_comes_from_if_anything() -> None:
    cause = LookupError("no table of migrations")
    outcome = await outcome_of(raising(caused(CheckFailed("migrations are not known"), cause)))
    assert (outcome.reason, outcome.error) == ("migrations are not known", cause)


async def test_a_failure_may_be_certain() -> None:
    error = CheckFailed("wrong schema", certain=True)
    assert (await outcome_of(raising(error))).certain


async def test_degraded_is_neither() -> None:
    assert await outcome_of(raising(Degraded("one replica of three"))) == Outcome(
        kind="degraded", reason="one replica of three"
    )


async def test_the_text_of_any_other_exception_is_never_shown() -> None:
    error = RuntimeError("connect postgres://app:hunter2@db/forms")
    error.__cause__ = ValueError("hunter2")
    outcome = await outcome_of(raising(error))
    assert (outcome.kind, outcome.reason, outcome.certain) == ("failed", "RuntimeError, caused by ValueError", False)
    assert outcome.error is error


async def test_a_url_password_in_a_written_reason_is_masked() -> None:
    outcome = await outcome_of(raising(CheckFailed("no answer from postgres://app:hunter2@db/forms")))
    assert outcome.reason == "no answer from postgres://app:******@db/forms"


def test_a_reason_is_one_line_of_bounded_length() -> None:
    assert shown("two\n  lines") == "two lines"
    assert len(shown("x" * 10_000)) == 300


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "certain"),
    [
        (ConnectionRefusedError(), True),
        (caused(RuntimeError(), ConnectionRefusedError()), True),
        (caused(RuntimeError(), caused(OSError(), ConnectionRefusedError())), True),
        (caused(CheckFailed("no"), ConnectionRefusedError()), True),
        (caused(OSError(), ExceptionGroup("", [ConnectionRefusedError(), ConnectionRefusedError()])), True),
        (caused(OSError(), ExceptionGroup("", [ConnectionRefusedError(), OSError()])), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
    ],
    ids=repr,
)
async def test_a_refused_connection_is_certain(error: Exception, certain: bool) -> None:
    assert (await outcome_of(raising(error))).certain is certain


async def test_an_exception_that_is_its_own_cause_does_no_harm() -> None:
    error = RuntimeError()
    error.__cause__ = caused(ValueError(), error)
    assert (await outcome_of(raising(error))).reason == "RuntimeError, caused by ValueError"


async def test_a_sync_check_runs_in_a_thread_with_the_context_of_its_caller() -> None:
    seen: list[tuple[bool, str]] = []

    def check() -> None:
        seen.append((threading.current_thread() is threading.main_thread(), TENANT.get()))

    TENANT.set("acme")
    await outcome_of(check)
    assert seen == [(False, "acme")]


async def test_system_exit_in_a_thread_is_a_failure_and_not_silence() -> None:
    assert (await outcome_of(raising(SystemExit(3)))).reason == "SystemExit"


async def test_an_async_check_that_overruns_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def check() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    outcome = await outcome_of(check, timeout=0.01)
    assert (outcome.kind, outcome.reason) == ("failed", "it did not answer within 0.01 s")
    await cancelled.wait()


@pytest.fixture
async def stubborn() -> AsyncIterator[tuple[CheckRun, threading.Event, list[str]]]:
    """A run of a sync check that hangs until it is released."""
    release, threads = threading.Event(), list[str]()

    def check() -> None:
        threads.append(threading.current_thread().name)
        release.wait()

    run = CheckRun(HealthCheck(name="stubborn", check=check, timeout=0.01))
    yield run, release, threads
    release.set()
    assert await run.close()


async def test_a_sync_check_that_hangs_holds_one_thread_and_fails_every_time(
    stubborn: tuple[CheckRun, threading.Event, list[str]],
) -> None:
    run, release, threads = stubborn
    reasons = [(await run.once()).reason for _ in range(4)]
    assert reasons == ["it did not answer within 0.01 s", *["an earlier run has still not ended"] * 3]
    assert threads == ["eggycore health check stubborn"]
    release.set()
    assert await run.close()
    assert (await run.once()).reason != "an earlier run has still not ended"


async def test_an_async_check_that_swallows_cancellation_is_not_started_twice() -> None:
    release, begun = asyncio.Event(), 0

    async def check() -> None:
        nonlocal begun
        begun += 1
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    run = CheckRun(HealthCheck(name="stubborn", check=check, timeout=0.01))
    assert (await run.once()).reason == "it did not answer within 0.01 s"
    assert (await run.once()).reason == "an earlier run has still not ended"
    release.set()
    assert await run.close()
    assert begun == 1


async def test_what_still_runs_is_left_behind_after_a_grace(
    stubborn: tuple[CheckRun, threading.Event, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore.check_run.CLOSE_GRACE", 0.01)
    run, release, _ = stubborn
    await run.once()
    assert not await run.close()
    release.set()


def test_a_thread_that_ends_after_its_loop_is_closed_ends_quietly() -> None:
    release, ended = threading.Event(), threading.Event()

    def check() -> None:
        release.wait()
        ended.set()

    asyncio.run(outcome_of(check, timeout=0.01))
    thread = next(thread for thread in threading.enumerate() if thread.name == "eggycore health check database")
    release.set()
    thread.join()
    assert ended.is_set()
