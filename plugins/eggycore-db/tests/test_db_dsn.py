"""What a DSN may be, and that no message repeats a part of one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.diagnostics import diagnose, render
from eggycore_db.dsn import DsnRefused, parse_dsn

SERVER = """\
The database DSN names a {} server, and this version of eggycore-db speaks SQLite only.
  action: Use an SQLite file for now, for example sqlite:///eggycore.db."""


@pytest.mark.parametrize(
    ("dsn", "path"),
    [
        ("sqlite:///eggycore.db", Path("eggycore.db")),
        ("sqlite:///data/eggycore.db", Path("data/eggycore.db")),
        ("sqlite:////var/lib/eggycore.db", Path("/var/lib/eggycore.db")),
        ("SQLite:///eggycore.db", Path("eggycore.db")),
        ("sqlite:///my%20data%3F.db", Path("my data?.db")),
        ("sqlite:///a#b.db", Path("a#b.db")),
        ("sqlite:///:memory:", None),
    ],
)
def test_a_dsn_names_a_file_or_memory(dsn: str, path: Path | None) -> None:
    assert parse_dsn(dsn).path == path


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("postgresql://me:hunter2@db/forms", SERVER.format("PostgreSQL")),
        ("postgres://me:hunter2@db/forms", SERVER.format("PostgreSQL")),
        ("postgresql+psycopg://me:hunter2@db/forms", SERVER.format("PostgreSQL")),
        ("mysql://me:hunter2@db/forms", SERVER.format("MySQL")),
        ("mariadb://me:hunter2@db/forms", SERVER.format("MariaDB")),
        ("me:hunter2@tcp(db:3306)/forms?parseTime=True", SERVER.format("MySQL")),
        (
            "sqllite:///hunter2.db",
            "The database DSN has a misspelt scheme.\n"
            "  action: Did you mean sqlite://? Write it as sqlite:///eggycore.db.",
        ),
        (
            "oracle://me:hunter2@db/forms",
            "The database DSN names a kind of database that is not known.\n"
            "  action: This version speaks SQLite: sqlite:///eggycore.db.",
        ),
        ("hunter2", "The database DSN is not a URL.\n  action: Write it as sqlite:///eggycore.db."),
        (
            "sqlite://hunter2.db",
            "The database DSN has two slashes before its file.\n"
            "  action: Write three for a file in the working folder (sqlite:///eggycore.db) and four for an absolute "
            "path (sqlite:////var/lib/eggycore.db).",
        ),
        (
            "sqlite://",
            "The database DSN has no file after its slashes.\n"
            "  action: Write three for a file in the working folder (sqlite:///eggycore.db) and four for an absolute "
            "path (sqlite:////var/lib/eggycore.db).",
        ),
        (
            "sqlite:///",
            "The database DSN names a folder and no file.\n"
            "  action: Add a file name, for example sqlite:///eggycore.db.",
        ),
        (
            "sqlite:///a.db?password=hunter2",
            "The database DSN has options after a question mark, and SQLite takes none here.\n"
            "  action: Leave them out; a question mark that belongs to the file's name is written %3F.",
        ),
        (
            "sqlite:///%ff.db",
            "The database DSN is not UTF-8 once it is percent-decoded.\n  action: Write the path in UTF-8.",
        ),
        ("sqlite:///a%00.db", "The database DSN has a null character in its path.\n  action: Leave it out."),
    ],
)
def test_another_dsn_is_refused_with_what_to_write_instead(dsn: str, message: str) -> None:
    with pytest.raises(DsnRefused) as refused:
        parse_dsn(dsn)
    assert render(diagnose(refused.value)) == message
    assert refused.value.exit_code == 2


NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).filter(
    lambda name: name != ":memory:" and not name.endswith("/")
)


@given(NAMES)
def test_every_path_can_be_written_as_a_dsn(name: str) -> None:
    assert parse_dsn(f"sqlite:///{quote(name)}").path == Path(name)


@given(st.text())
def test_every_text_is_a_dsn_or_is_refused(text: str) -> None:
    try:
        parse_dsn(text)
    except DsnRefused as refused:
        assert str(refused).startswith("The database DSN ")


PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda text: f"pw{text}wp")
FORMS = st.sampled_from(
    [
        "postgresql://me:{}@db/forms",
        "mysql://me:{}@tcp(db:3306)/forms",
        "me:{}@tcp(db:3306)/forms",
        "sqlite://me:{}@/forms.db",
        "sqlite:///forms.db?key={}",
        "{}",
        "{}://db",
        "postgresqll://{}",
    ]
)


@given(FORMS, PASSWORDS)
def test_a_refused_dsn_never_shows_its_password(form: str, password: str) -> None:
    with pytest.raises(DsnRefused) as refused:
        parse_dsn(form.format(password))
    assert password not in render(diagnose(refused.value)) + repr(refused.value) + str(refused.value)
