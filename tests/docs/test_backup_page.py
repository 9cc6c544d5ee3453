"""docs/backup.md brings back what was there: its commands are run, and the tables are dropped in between."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.walkthrough import files
from tests.infra.clients import mariadb_connection, on_mariadb, on_postgres
from tests.servers.processes import binary

PAGE = (Path(__file__).parents[2] / "docs" / "backup.md").read_text(encoding="utf-8")
TEXTS = ["plain", 'it\'s "quoted"; -- \\', "żółć 🥚", "line\nline", ""]
BYTES = bytes(range(256))


def section(heading: str) -> str:
    """The part of the page below a heading."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return parts[parts.index(heading) + 1]


def halves(heading: str) -> tuple[str, str]:
    """What the part says before and after the word Restore that begins a paragraph."""
    before, restore, after = section(heading).partition("\nRestore")
    assert restore
    return before, after


def do(page: str, folder: Path, **environ: str) -> None:
    """Run the commands of a page in a shell, and compare what they print with what the page says."""
    for block in re.findall(r"^```console\n\$ (.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE):
            line, _, output = step.partition("\n")
            words = ["sh", "-ec", line]
            done = subprocess.run(words, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True)
            assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
            expected = ".*".join(map(re.escape, output.strip().split("...")))
            assert not expected or re.fullmatch(expected, done.stdout.strip()), f"$ {line}\n{done.stdout}"


def test_postgres(postgres_dsn: str, tmp_path: Path) -> None:
    binary("pg_dump", "postgresql-client")
    on_postgres(postgres_dsn, "CREATE TABLE forms (id serial PRIMARY KEY, title text UNIQUE, data bytea); SELECT 1")
    for title in TEXTS:
        on_postgres(postgres_dsn, "INSERT INTO forms (title, data) VALUES (%s, %s) RETURNING id", [title, BYTES])
    before = on_postgres(postgres_dsn, "SELECT id, title, data::text FROM forms ORDER BY id")
    save, restore = halves("PostgreSQL")

    do(save, tmp_path, DATABASE_DSN=postgres_dsn)
    on_postgres(postgres_dsn, "DROP TABLE forms; CREATE TABLE stays (); SELECT 1")
    do(restore, tmp_path, DATABASE_DSN=postgres_dsn)
    assert on_postgres(postgres_dsn, "SELECT id, title, data::text FROM forms ORDER BY id") == before

    on_postgres(postgres_dsn, "DELETE FROM forms WHERE id < 3; INSERT INTO forms (title) VALUES ('later'); SELECT 1")
    do(restore, tmp_path, DATABASE_DSN=postgres_dsn)
    assert on_postgres(postgres_dsn, "SELECT id, title, data::text FROM forms ORDER BY id") == before
    assert on_postgres(postgres_dsn, "SELECT count(*) FROM stays") == [(0,)]
    assert on_postgres(postgres_dsn, "INSERT INTO forms (title) VALUES ('next') RETURNING id") == [(len(TEXTS) + 1,)]


def test_a_postgres_dump_that_was_cut_short_is_found_and_changes_nothing(postgres_dsn: str, tmp_path: Path) -> None:
    binary("pg_dump", "postgresql-client")
    rows = "SELECT g AS id, md5(g::text) FROM generate_series(1, 20000) g"
    on_postgres(postgres_dsn, f"CREATE TABLE forms AS {rows}; SELECT 1")
    save, restore = halves("PostgreSQL")
    do(save, tmp_path, DATABASE_DSN=postgres_dsn)
    dump = tmp_path / "eggycore.dump"
    dump.write_bytes(dump.read_bytes()[: dump.stat().st_size // 2])
    check = save.partition("Read it")[2]
    with pytest.raises(AssertionError, match="pg_restore: error"):
        do(check, tmp_path)
    with pytest.raises(AssertionError, match="pg_restore: error"):
        do(restore, tmp_path, DATABASE_DSN=postgres_dsn)
    assert on_postgres(postgres_dsn, "SELECT count(*) FROM forms") == [(20000,)]


def test_mariadb(mariadb_dsn: str, tmp_path: Path) -> None:
    binary("mariadb-dump", "mariadb-client")
    with closing(mariadb_connection(mariadb_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE forms (id int AUTO_INCREMENT PRIMARY KEY, title varchar(99) UNIQUE, data blob)")
        cursor.executemany("INSERT INTO forms (title, data) VALUES (%s, _binary %s)", [(text, BYTES) for text in TEXTS])
    before = on_mariadb(mariadb_dsn, "SELECT * FROM forms ORDER BY id")
    parts = urlsplit(mariadb_dsn)
    name = parts.path.strip("/")
    _write_options(tmp_path, mariadb_dsn)
    parts_of_page = halves("MariaDB and MySQL")
    save, restore = (re.sub(r" eggycore(?= <|$)", f" {name}", part, flags=re.MULTILINE) for part in parts_of_page)

    do(save, tmp_path)
    on_mariadb(mariadb_dsn, "DROP TABLE forms")
    on_mariadb(mariadb_dsn, "CREATE TABLE stays (a int)")
    do(restore, tmp_path)
    assert on_mariadb(mariadb_dsn, "SELECT * FROM forms ORDER BY id") == before

    on_mariadb(mariadb_dsn, "DELETE FROM forms WHERE id < 3")
    do(restore, tmp_path)
    assert on_mariadb(mariadb_dsn, "SELECT * FROM forms ORDER BY id") == before
    assert on_mariadb(mariadb_dsn, "SELECT count(*) FROM stays") == ((0,),)
    on_mariadb(mariadb_dsn, "INSERT INTO forms (title) VALUES ('next')")
    assert on_mariadb(mariadb_dsn, "SELECT max(id) FROM forms") == ((len(TEXTS) + 1,),)


def test_sqlite(tmp_path: Path) -> None:
    binary("sqlite3", "sqlite3")
    save, restore = halves("SQLite")
    with closing(_sqlite(tmp_path / "eggycore.db")) as in_use:
        in_use.execute("PRAGMA journal_mode = wal")
        in_use.execute("CREATE TABLE forms (id integer PRIMARY KEY, title text, data blob)")
        in_use.executemany("INSERT INTO forms (title, data) VALUES (?, ?)", [(text, BYTES) for text in TEXTS])
        before = in_use.execute("SELECT * FROM forms").fetchall()
        assert (tmp_path / "eggycore.db-wal").stat().st_size > 0
        do(save, tmp_path)
        in_use.execute("DROP TABLE forms")
        log = (tmp_path / "eggycore.db-wal").read_bytes()
    (tmp_path / "eggycore.db-wal").write_bytes(log)  # as a service leaves it that was killed
    do(restore, tmp_path)
    for name in ("eggycore.db", "eggycore.small.db"):
        with closing(_sqlite(tmp_path / name)) as restored:
            assert restored.execute("SELECT * FROM forms").fetchall() == before


def _write_options(folder: Path, dsn: str) -> None:
    """The page's backup.cnf with the address and the user of this machine's server."""
    parts = urlsplit(dsn)
    here = {"host": parts.hostname, "port": parts.port or 3306, "user": parts.username}
    here["password"] = unquote(parts.password or "")
    text = files(PAGE)["backup.cnf"]
    for name, value in here.items():
        text, replaced = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert replaced == 1
    (folder / "backup.cnf").write_text(text)


def _sqlite(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)
