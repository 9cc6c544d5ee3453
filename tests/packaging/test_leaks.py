"""The tests' own guard: what a test leaves behind fails it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

GUARDED = ("-p", "tests.leaks", "-p", "no:eggycore", "-p", "no:cacheprovider")

LEAKY = {
    "task": """
        import asyncio

        async def test_leaks():
            asyncio.get_running_loop().create_task(asyncio.Event().wait())
            await asyncio.sleep(0)
        """,
    "thread": """
        import threading

        def test_leaks():
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        """,
    "descriptor": """
        import os

        def test_leaks(request):
            os.open(request.config.inipath, os.O_RDONLY)
        """,
    "child process": """
        import subprocess, sys

        kept = []

        def test_leaks():
            kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        """,
}


@pytest.mark.parametrize("kind", LEAKY)
def test_a_test_that_leaves_something_behind_fails(pytester: pytest.Pytester, kind: str) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(LEAKY[kind])
    result = pytester.runpytest_subprocess(*GUARDED)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["left behind:", f"  {kind} *"])


def test_a_test_that_cleans_up_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import subprocess, sys, threading

        def test_tidy(tmp_path):
            with open(tmp_path / "x", "w"):
                thread = threading.Thread(target=int)
                thread.start()
                subprocess.run([sys.executable, "-c", ""])
                thread.join()
        """
    )
    pytester.runpytest_subprocess(*GUARDED).assert_outcomes(passed=1)
