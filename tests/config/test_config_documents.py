"""Documents in JSON, TOML and YAML: the variables they set, the line of each, and what is said of one that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eggycore.config.documents import Document, Format, format_of, parse_bytes, parse_document
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError

NOT_CLOSED = "has a quote that is not closed, or is half written"
FORMATS: tuple[Format, ...] = ("json", "toml", "yaml")
MIB = 1_048_576


def parse(text: str, format: Format) -> Document:
    return parse_document(text, name=f"config/base.{format}", format=format)


def report(document: Document) -> str:
    return render(diagnose(ConfigError(document.problems))).partition("\n\n")[2]


SAME: dict[Format, str] = {
    "json": """{
  "$schema": "./schema.json",
  "service-name": "forms",
  "LOG_LEVEL": "warn",
  "database": {
    "max_open_conns": 20,
    "tls": {"ca": "/ca.pem"},
    "dsn": null
  },
  "version": 1.10,
  "debug": true,
  "hosts": ["a", "b", 3]
}
""",
    "toml": """# the same
"$schema" = "./schema.json"
service-name = "forms"
LOG_LEVEL = 'warn'
version = 1.10
debug = true
hosts = ["a", "b",
  3]
[database]
max_open_conns = 20
tls = { ca = "/ca.pem" }
dsn = ""
""",
    "yaml": """# the same
$schema: ./schema.json
service-name: forms
LOG_LEVEL: "warn"
database:
  max_open_conns: 20
  tls:
    ca: /ca.pem
  dsn:
version: 1.10
debug: true
hosts: [a, b, 3]
""",
}

LINES: dict[Format, list[int]] = {
    "json": [3, 4, 6, 7, 8, 10, 11, 12],
    "toml": [3, 4, 10, 11, 12, 5, 6, 7],
    "yaml": [3, 4, 6, 8, 9, 10, 11, 12],
}


@pytest.mark.parametrize("format", FORMATS)
def test_the_three_formats_say_the_same_and_where(format: Format) -> None:
    document = parse(SAME[format], format)
    assert document.problems == () and not document.failed
    expected = {
        "SERVICE_NAME": "forms",
        "LOG_LEVEL": "warn",
        "DATABASE_MAX_OPEN_CONNS": "20",
        "DATABASE_TLS_CA": "/ca.pem",
        "DATABASE_DSN": "",
        "VERSION": "1.10",
        "DEBUG": "true",
        "HOSTS": "a,b,3",
    }
    assert document.values == expected
    assert document.lists == {"HOSTS"}
    assert set(document.tables) == {"DATABASE", "DATABASE_TLS"}
    assert document.lines == dict(zip(expected, LINES[format], strict=True))


@pytest.mark.parametrize("word", ["yes", "No", "on", "012", "0x1F", "1:30", "1_000", "1e3", "2026-11-21", "=", "True"])
def test_a_plain_word_of_yaml_is_the_text_that_it_looks_like(word: str) -> None:
    assert parse(f"a: {word}", "yaml").values == {"A": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [("~", ""), ("null", ""), ("Null", ""), ("", ""), ("'null'", "null"), ('"~"', "~"), ("!!str null", "null")],
)
def test_null_of_yaml_is_nothing_unless_it_is_quoted(text: str, value: str) -> None:
    assert parse(f"a: {text}", "yaml").values == {"A": value}


def test_anchors_and_merges_of_yaml_are_written_out() -> None:
    text = "x: &x\n  a: 1\n  b: [p, q]\ny:\n  <<: *x\n  a: 2\nz: {<<: [{a: 3}, *x], c: 4}\nw: &w v\nu: *w\n'<<': t\n"
    document = parse(text, "yaml")
    assert document.problems == ()
    assert document.values == {
        "X_A": "1",
        "X_B": "p,q",
        "Y_A": "2",
        "Y_B": "p,q",
        "Z_A": "3",
        "Z_B": "p,q",
        "Z_C": "4",
        "W": "v",
        "U": "v",
        "<<": "t",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("0o17", "15"),
        ("0b101", "5"),
        ("1_0.5e3", "10.5e3"),
        ("+7", "+7"),
        ("inf", "inf"),
        ("1979-05-27T07:32:00Z", "1979-05-27T07:32:00Z"),
        ("1979-05-27 07:32:00", "1979-05-27 07:32:00"),
        ("'C:\\x'", "C:\\x"),
        ('"""\na\n "b" """', 'a\n "b" '),
        ("'''a'b'''''", "a'b''"),
        ('"a \\u00e9 # b"', "a \u00e9 # b"),
    ],
)
def test_a_value_of_toml_is_its_text(text: str, value: str) -> None:
    document = parse(f"[x]\na = {text} # why\n  b.c = 1\r\n", "toml")
    assert document.values == {"X_A": value, "X_B_C": "1"}
    assert document.lines == {"X_A": 2, "X_B_C": 3 + text.count("\n")}


def test_a_list_of_tables_is_told_in_every_format() -> None:
    expected = (
        "1. SERVERS: a list of tables or lists.\n"
        "     cause:  It was set in config/base.{0} line {1}.\n"
        "     action: Write words, numbers or booleans."
    )
    assert report(parse('{"servers":\n[{"a": 1}]}', "json")) == expected.format("json", 2)
    assert report(parse("[[servers]]\na = 1\n[servers.b]\n[[servers]]\na = 2", "toml")) == expected.format("toml", 1)
    assert report(parse("servers:\n- a: 1\n", "yaml")) == expected.format("yaml", 2)
    assert report(parse("servers = [1,\n[2]]", "toml")) == expected.format("toml", 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [('["a", "b,c"]', "a list with a comma inside a word"), ('["a", " "]', "a list with an empty word")],
)
@pytest.mark.parametrize("format", FORMATS)
def test_a_list_whose_words_cannot_be_told_apart_is_told(format: Format, text: str, reason: str) -> None:
    written = {"json": f'{{"a": {text}}}', "toml": f"a = {text}", "yaml": f"a: {text}"}[format]
    (problem,) = parse(written, format).problems
    assert (problem.key, problem.reason, problem.origin) == ("A", reason, f"config/base.{format} line 1")


REPEATED = (
    "1. DATABASE_POOL: set twice, in line {0} and in line {1}.\n"
    "     cause:  It was set in config/base.{2} line {1}.\n"
    "     action: Remove one of the two."
)


@pytest.mark.parametrize(
    ("format", "text", "first", "second"),
    [
        ("json", '{"database": {"pool": 1,\n"pool": 2}}', 1, 2),
        ("json", '{"database": {"pool": 1},\n\n"DATABASE_POOL": 2}', 1, 3),
        ("toml", "[database]\npool = 1\npool = 2", 2, 3),
        ("toml", "database-pool = 1\n[database]\npool = 2", 1, 3),
        ("toml", "[database.pool]\na = 1\n[database.pool]\nb = 1", 1, 3),
        ("toml", "database.pool.a = 1\ndatabase.pool = 1", 1, 2),
        ("yaml", "database:\n  pool: 1\n  pool: 2", 2, 3),
        ("yaml", "database: {pool: 1}\ndatabase_pool: 2", 1, 2),
    ],
)
def test_what_is_set_twice_is_told_with_both_lines(format: Format, text: str, first: int, second: int) -> None:
    document = parse(text, format)
    assert report(document) == REPEATED.format(first, second, format)


@pytest.mark.parametrize(
    ("format", "text", "place", "reason", "action"),
    [
        ("json", "", "", "empty, as if half written", "Write it, or remove it."),
        ("toml", " \r\n", "", "empty, as if half written", "Write it, or remove it."),
        ("json", '{"a": 1,\n"b": ', ", line 2, column 6", "ends too early, as if half written", "Complete the file."),
        ("json", '{"a": "hunter2', ", line 1, column 7", NOT_CLOSED, "Complete the file."),
        ("json", '{"a" hunter2}', ", line 1, column 6", "not JSON: expecting ':' delimiter", "Correct the file."),
        ("json", '{"a": "\t"}', ", line 1, column 8", "not JSON: invalid control character at", "Correct the file."),
        ("json", "[1]", ", line 1", "a list, not a table", "Write keys with their values."),
        ("json", "\n7", ", line 2", "a single value, not a table", "Write keys with their values."),
        ("toml", "a = [1,\n", "", "ends too early, as if half written", "Complete the file."),
        ("toml", "a = 1\nb = hunter2", ", line 2, column 5", "not TOML: invalid value", "Correct the file."),
        ("toml", "a = 'hunter2\nb = 1", "", NOT_CLOSED, "Complete the file."),
        ("toml", 'a = "hunter2', "", NOT_CLOSED, "Complete the file."),
        (
            "toml",
            'a = 1 b = "hunter2"',
            ", line 1, column 7",
            "not TOML: expected newline or end of document after a statement",
            "Correct the file.",
        ),
        (
            "yaml",
            "a:\n\tb: 1",
            ", line 2, column 1",
            "indented with a tab",
            "Indent with spaces: YAML allows no tabs there.",
        ),
        ("yaml", "a: [1,\n2", ", line 2, column 2", "ends too early, as if half written", "Complete the file."),
        ("yaml", "a: 'hunter2\n", ", line 1, column 4", NOT_CLOSED, "Complete the file."),
        ("yaml", "- a", ", line 1", "a list, not a table", "Write keys with their values."),
        ("yaml", "a", ", line 1", "a single value, not a table", "Write keys with their values."),
        ("yaml", "a: 1\n--- \nb: 1", ", line 2", "holds more than one document", "Write one file for each."),
        (
            "yaml",
            "\na: *hunter2",
            ", line 2",
            "has an alias (*) to an anchor that is not there",
            "Quote what begins with *.",
        ),
        (
            "yaml",
            "a: !hunter2 x",
            ", line 1",
            "has a tag (!) that configuration does not know",
            "Quote what begins with !.",
        ),
        ("yaml", "a: &a [*a]", ", line 1", "has an alias (*) inside of what it stands for", "Write it out."),
        ("yaml", "? [a]\n: b", ", line 1", "has a key that is not a word", "Write a name before the colon."),
        ("yaml", "a: \x07", ", line 1, column 4", "holds U+0007, which YAML forbids", "Remove the character."),
        ("yaml", "a:\n  <<: x", ", line 2", "merges (<<) what is no table", "Name the anchor of a table."),
        ("json", '{"": 1}', ", line 1", "has an empty key", "Make it a name."),
        ("yaml", f"{'k' * 257}: 1", ", line 1", "has a key of more than 256 characters", "Make it a name."),
        ("json", '{"a": "\ud800"}', ", line 1", "not UTF-8", "Save the file as UTF-8."),
        ("yaml", "a: 1\nb: \0", ", line 2", "holds a NUL character, as if binary", "Make it a text."),
    ],
)
def test_a_document_that_cannot_be_read_is_one_problem(
    format: Format, text: str, place: str, reason: str, action: str
) -> None:
    document = parse(text, format)
    assert report(document) == f"1. config/base.{format}{place}: {reason}.\n     action: {action}"
    assert document.failed and document.values == {}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("depth", [33, 100_000])
def test_what_lies_too_deep_is_refused_and_ends_no_process(format: Format, depth: int) -> None:
    text = "[" * depth + "]" * depth
    document = parse({"json": f'{{"a": {text}}}', "toml": f"a = {text}", "yaml": f"a: {text}"}[format], format)
    (problem,) = document.problems
    assert problem.reason == "has more than 32 tables and lists in each other"


@pytest.mark.parametrize(
    "text", ["a." * 500_000 + "a = 1", "[" + "a." * 500_000 + "a]", "b = 1 1\nx." + "a." * 500_000]
)
def test_a_key_of_toml_of_very_many_parts_takes_no_hours(text: str) -> None:
    assert parse(text, "toml").failed


@pytest.mark.parametrize("format", FORMATS)
def test_what_lies_deep_but_not_too_deep_is_read(format: Format) -> None:
    path = [f"k{number}" for number in range(31)]
    tables: Any = 1
    for key in reversed(path):
        tables = {key: tables}
    written = f"{'.'.join(path)} = 1" if format == "toml" else json.dumps(tables)
    assert parse(written, format).values == {"_".join(path).upper(): "1"}


def test_a_bomb_of_aliases_is_refused() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} {{{', '.join(f'k{m}: *a{n - 1}' for m in range(10))}}}\n" for n in range(1, 10))
    assert report(parse(text, "yaml")) == (
        "1. config/base.yaml, line 1: has more than 50000 values.\n     action: Split it, or use fewer aliases."
    )


def test_a_bomb_of_merges_is_refused() -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(1000))
    text = f"a0: &a0 {{{keys}}}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, 60))
    (problem,) = parse(text, "yaml").problems
    assert problem.reason == "merges (<<) too many keys"


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b'{"a": "' + b"x" * (10 * MIB) + b'"}', "", "more than 1 MiB long"),
        (b"\x7fELF\x02\x01\x01\0\0", ", line 1", "holds a NUL character, as if binary"),
        (b'{"a":\n"\xff"}', ", line 2", "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), ", line 1", "not UTF-8"),
    ],
)
def test_bytes_that_are_no_document_are_one_problem(content: bytes, place: str, reason: str) -> None:
    document = parse_bytes(content, name="config/base.json", format="json")
    (problem,) = document.problems
    assert (problem.key, problem.reason) == (f"config/base.json{place}", reason)
    assert problem.action


def test_a_text_of_more_than_a_mebibyte_is_one_problem() -> None:
    (problem,) = parse(f'{{"a": "{"é" * (MIB // 2)}"}}', "json").problems
    assert problem.reason == "more than 1 MiB long"


@pytest.mark.parametrize("format", FORMATS)
def test_a_byte_order_mark_is_no_part_of_a_document(format: Format) -> None:
    content = {"json": '{"a": 1}', "toml": "a = 1", "yaml": "a: 1"}[format].encode("utf-8-sig")
    assert parse_bytes(content, name="x", format=format).values == {"A": "1"}
    assert parse(content.decode(), format).values == {"A": "1"}


@pytest.mark.parametrize("format", ["toml", "yaml"])
def test_nothing_but_comments_sets_nothing(format: Format) -> None:
    assert parse("# later\n", format) == Document()


def test_a_document_in_a_module_lies_under_its_name() -> None:
    text = '{"max-open": 1, "DATABASE_DSN": "x", "database": {"tls": "y"}, "databases": "z"}'
    document = parse_document(text, name="x", format="json", module="database")
    assert document.values == {
        "DATABASE_MAX_OPEN": "1",
        "DATABASE_DSN": "x",
        "DATABASE_TLS": "y",
        "DATABASE_DATABASES": "z",
    }


def test_the_format_follows_from_the_name() -> None:
    names = ["base.json", "a.b.toml", "x.yaml", "x.yml", "json", "x.JSON", "x.txt", ".env"]
    assert [format_of(name) for name in names] == ["json", "toml", "yaml", "yaml", None, None, None, None]


def test_a_document_does_not_show_values() -> None:
    assert "hunter2" not in repr(parse('{"a": "hunter2", "b": ["hunter2"]}', "json"))
