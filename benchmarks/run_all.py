"""Every benchmark, as one table and as benchmarks/results.json; `make bench` runs this.

python -m benchmarks.run_all             # all of them
python -m benchmarks.run_all startup     # only those named
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from benchmarks import cache_memcached, cache_memory, cache_redis, config_watch, db_bulk, db_orm, memory, probe, startup
from benchmarks import help as help_
from benchmarks.http import run as http
from benchmarks.rows import Row

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "http": http.rows,
    "startup": startup.rows,
    "help": help_.rows,
    "probe": probe.rows,
    "memory": memory.rows,
    "db_orm": db_orm.rows,
    "db_bulk": db_bulk.rows,
    "cache_memory": cache_memory.rows,
    "cache_memcached": cache_memcached.rows,
    "cache_redis": cache_redis.rows,
    "config_watch": config_watch.rows,
}
RESULTS = Path(__file__).parent / "results.json"


def main(names: Sequence[str]) -> int:
    """Run the named benchmarks, or all.

    Returns:
        The exit code: 0 when every bar holds, 1 when one does not, 2 when a name is unknown.
    """
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"There is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        rows += BENCHMARKS[name]()
    RESULTS.write_text(json.dumps([row.to_dict() for row in rows], indent=2) + "\n")
    print(f"\n{table(rows)}\n\n{date.today()}, python {sys.version.split()[0]}; also in {RESULTS.name}")
    return 0 if all(row.holds for row in rows) else 1


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {row.name} | {row.ratio:.2f} | {row.bar:g} | {'yes' if row.holds else 'NO'} |" for row in rows]
    return "\n".join(["| what | ratio | bar | holds |", "|---|---|---|---|", *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
