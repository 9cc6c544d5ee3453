"""Documents that hypothesis thinks of: what is written comes out, and no text or bytes break the reading."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config.documents import Document, Format, parse_bytes, parse_document

FORMATS: tuple[Format, ...] = ("json", "toml", "yaml")


def parse(text: str, format: Format) -> Document:
    return parse_document(text, name=f"config/base.{format}", format=format)


plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
words = plain.filter(lambda text: text.strip() and "," not in text)
scalars = st.one_of(plain, st.integers(-(10**20), 10**20), st.booleans(), st.none())
leaves = st.one_of(scalars, st.lists(st.one_of(words, st.integers(), st.booleans()), max_size=4))
shapes = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=15)


def named(shape: Any, counter: list[int]) -> Any:
    """The shape with a key of its own for each element of a tuple: "key3x"."""
    if not isinstance(shape, tuple):
        return shape
    table = {}
    for inner in shape:
        counter[0] += 1
        key = f"key{counter[0]}x"
        table[key] = named(inner, counter)
    return table


def flattened(table: dict[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    flat = {}
    for key, value in table.items():
        flat.update(flattened(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value})
    return flat


def text_of(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(text_of, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def toml_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return '""' if value is None else text_of(value)


def toml(table: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    pairs = [f"{key} = {toml_value(value)}\n" for key, value in table.items() if not isinstance(value, dict)]
    inner = [toml(value, (*path, key)) for key, value in table.items() if isinstance(value, dict)]
    header = [f"\n[{'.'.join(path)}]\n"] if path else []
    return "".join([*header, *pairs, *inner])


@given(st.lists(shapes, max_size=4).map(tuple), st.data())
def test_any_nested_keys_come_out_with_their_texts_and_lines(shape: tuple[Any, ...], data: st.DataObject) -> None:
    table = named(shape, [0])
    format = data.draw(st.sampled_from(FORMATS))
    text = {
        "json": lambda: json.dumps(
            table, indent=data.draw(st.sampled_from([None, 1])), ensure_ascii=data.draw(st.booleans())
        ),
        "toml": lambda: "# toml\n" + toml(table),
        "yaml": lambda: yaml.safe_dump(
            table, sort_keys=False, default_flow_style=data.draw(st.sampled_from([None, True, False]))
        ),
    }[format]()
    document = parse(text, format)
    assert document.problems == ()
    flat = flattened(table)
    assert document.values == {"_".join(path).upper(): text_of(value) for path, value in flat.items()}
    assert document.lists == {"_".join(path).upper() for path, value in flat.items() if isinstance(value, list)}
    if format != "toml":
        lines = re.split("\r\n|[\n\r\x85\u2028\u2029]" if format == "yaml" else "\n", text)
        for path in flat:
            line = document.lines["_".join(path).upper()]
            assert path[-1] in lines[line - 1]


@given(st.lists(shapes, min_size=1, max_size=4).map(tuple), st.sampled_from(FORMATS), st.floats(0, 1))
def test_a_document_of_which_the_end_is_missing_says_no_more_than_the_whole(
    shape: tuple[Any, ...], format: Format, part: float
) -> None:
    table = named(shape, [0])
    text = {"json": json.dumps, "toml": toml, "yaml": yaml.safe_dump}[format](table)
    cut = parse(text[: int(len(text) * part)], format)
    if format == "json" and part < 1:
        assert cut.failed
    assert cut.values.keys() <= parse(text, format).values.keys() | {name for name in cut.values if "KEY" in name}


MARKS = "{ } [ ] [[ ]] : , = . # - ~ | > ! \" ' \"\"\" ''' \\ \\u ? --- ... << true null 1 0x1 1979-05-27".split(" ")
BLANKS = ["\n", "\n  ", "\t", " ", "\r\n", "\ufeff", "\0", "\u2028", "\ud800", "é"]
WORDS = ["a", "b", "a: ", "b = ", '"a": ', "- ", "&x ", "*x", "<<: *x"]
SECRETS = [
    "hunter2",
    '"hunter2"',
    "'hunter2",
    "*hunter2 ",
    "!hunter2 ",
    "!hunter2!x ",
    "&hunter2 ",
    "%hunter2",
    "${hunter2",
]
pieces = st.sampled_from([*MARKS, *BLANKS, *WORDS, *SECRETS])


@given(st.lists(pieces, max_size=25).map("".join), st.sampled_from(FORMATS))
def test_any_text_is_a_document_or_problems_that_do_not_quote_it(text: str, format: Format) -> None:
    check(parse(text, format), text)


@given(
    st.one_of(st.binary(), st.text(st.characters()).map(lambda text: text.encode(errors="surrogatepass"))),
    st.sampled_from(FORMATS),
)
def test_any_bytes_are_a_document_or_problems(content: bytes, format: Format) -> None:
    document = parse_bytes(content, name="config/base", format=format)
    check(document, content.decode(errors="replace"))


def check(document: Document, text: str) -> None:
    last = len(re.split("\r\n|[\n\r\x85\u2028\u2029]", text))
    assert document.values.keys() == document.lines.keys() >= document.lists
    assert all(1 <= line <= last for line in (*document.lines.values(), *document.tables.values()))
    assert not document.failed or (len(document.problems) == 1 and not document.values)
    for problem in document.problems:
        assert problem.action and problem.value is None
        assert "hunter2" not in f"{problem.key} {problem.reason} {problem.origin} {problem.action}"
        for number in re.findall(r"line (\d+)", f"{problem.key} {problem.reason} {problem.origin}"):
            assert 1 <= int(number) <= last


TOML = [
    "a",
    "b",
    "c.a",
    "=",
    "= 1\n",
    "= [1, 2]\n",
    "= {a = 1}\n",
    "[",
    "]\n",
    "[[",
    "]]\n",
    "[a]\n",
    "[b.c]\n",
    "#",
    "\n",
    "'",
    '"',
    "= 1.5 # c\n",
]


@given(st.lists(st.sampled_from(TOML), max_size=12).map("".join))
def test_a_scan_of_toml_that_is_right_agrees_with_the_standard_library(text: str) -> None:
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    document = parse(text, "toml")
    if not document.problems:
        names = ["_".join(path).upper() for path in flattened(said)]
        assert document.values.keys() == set(names)
