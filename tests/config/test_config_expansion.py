"""References in texts: `${NAME}`, `${NAME:-default}` and `$${`, wherever they are expanded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Declared, Secret, Settings, Sources, env, load
from eggycore.config.expansion import Lookup, Unexpanded, expanded
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin


class Shop(Settings):
    name: str = env("SHOP_NAME", default="none", allow_empty=True)
    token: Secret[str] = env("SHOP_TOKEN", default="none")


SHOP = Declared(Shop, Origin("shop", kind="app"))
ENVIRON = {"A": "1", "EMPTY": "", "REFERENCE": "${A}"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${A:-d}", "1"),
        ("${NONE:-}", ""),
        ("${NONE:-a b}", "a b"),
        ("${NONE:-${EMPTY:-${A}}}", "1"),
        ("${NONE:-x${A}y}z", "x1yz"),
        ("${A:-${NONE}}", "1"),
        ("${REFERENCE}", "${A}"),
        ("$${A}", "${A}"),
        ("$${NONE", "${NONE"),
        ("${NONE:-$${A}", "${A"),
        ("$$${A}", "$${A}"),
        ("$A $ $$ {A} }", "$A $ $$ {A} }"),
        ("pa$$word", "pa$$word"),
    ],
)
def test_a_text_is_expanded(text: str, value: str) -> None:
    assert expanded(text, ENVIRON.get) == value


MALFORMED = "Write ${NAME} or ${NAME:-default}, or $${ for the two characters."


@pytest.mark.parametrize(
    ("text", "reason", "action"),
    [
        (
            "x${NONE}",
            "${NONE} is not set, and has no default",
            "Set NONE in the environment, in .env or with --set, or write ${NONE:-default}.",
        ),
        ("${A", "${ is not closed", MALFORMED),
        ("${", "${ is not closed", MALFORMED),
        ("${NONE:-${A}", "${ is not closed", MALFORMED),
        ("${}", "${ is not followed by a name and }", MALFORMED),
        ("${A B}", "${ is not followed by a name and }", MALFORMED),
        ("${A:?why}", "${ is not followed by a name and }", MALFORMED),
        ("${1}", "${ is not followed by a name and }", MALFORMED),
        ("${A-hunter2}", "${ is not followed by a name and }", MALFORMED),
        ("${A:-${hunter2!}}", "${ is not followed by a name and }", MALFORMED),
        ("${A:-" * 30 + "}" * 30, "has more than 20 defaults in each other", "Set one of the variables."),
    ],
)
def test_a_text_that_cannot_be_expanded_is_refused_without_being_quoted(text: str, reason: str, action: str) -> None:
    with pytest.raises(Unexpanded) as caught:
        expanded(text, ENVIRON.get)
    assert (caught.value.reason, caught.value.action) == (reason, action)


def read(folder: Path, dotenv: str, environ: Mapping[str, str] | None = None, **overrides: str) -> Shop:
    (folder / ".env").write_text(dotenv)
    return load([SHOP], Sources(environ or {}, folder, overrides))[Shop]


def report(folder: Path, dotenv: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, dotenv)
    return render(diagnose(caught.value))


def test_the_strongest_source_says_what_a_reference_stands_for(tmp_path: Path) -> None:
    dotenv = "X=dotenv\nSHOP_NAME=${X}\n"
    assert read(tmp_path, dotenv).name == "dotenv"
    assert read(tmp_path, dotenv, {"X": "environment"}).name == "environment"
    assert read(tmp_path, dotenv, {"X": "environment"}, SHOP_TOKEN="t").name == "environment"
    assert read(tmp_path, "SHOP_NAME=${SHOP_TOKEN}", {"SHOP_TOKEN": "b"}, SHOP_TOKEN="a").name == "a"


def test_a_reference_to_a_line_of_dotenv_is_expanded_in_turn_whatever_the_order(tmp_path: Path) -> None:
    assert read(tmp_path, "SHOP_NAME=${Y}!\nX=1\nY=${X}${X}\n").name == "11!"


def test_only_dotenv_and_files_are_expanded(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("${A}")
    assert read(tmp_path, "", {"SHOP_NAME": "${A}", "A": "1"}).name == "${A}"
    assert read(tmp_path, "A=1", SHOP_NAME="${A}").name == "${A}"
    assert read(tmp_path, "A=1", {"SHOP_TOKEN_FILE": "token"}).token.reveal() == "${A}"
    assert read(tmp_path, "A=token\nSHOP_TOKEN_FILE=${A}").token.reveal() == "${A}"


def test_lines_of_dotenv_that_refer_to_each_other_are_reported(tmp_path: Path) -> None:
    assert report(tmp_path, "SHOP_NAME=${X}\nX=${Y:-}\nY=a${X}\nSHOP_TOKEN='${X}'\n") == (
        "The configuration has 3 problems.\n"
        "\n"
        "1. SHOP_NAME: ${X} refers to itself.\n"
        "     cause:  It was set in .env line 1.\n"
        "     action: Write out one of the texts that refer to each other.\n"
        "\n"
        "2. X: ${X} refers to itself.\n"
        "     cause:  It was set in .env line 2.\n"
        "     action: Write out one of the texts that refer to each other.\n"
        "\n"
        "3. Y: ${Y} refers to itself.\n"
        "     cause:  It was set in .env line 3.\n"
        "     action: Write out one of the texts that refer to each other."
    )


def test_a_reference_that_is_not_set_is_reported_with_its_line_and_without_the_text(tmp_path: Path) -> None:
    text = report(tmp_path, "# token\nSHOP_TOKEN=hunter2${NONE}hunter3\nSHOP_NAME=hunter4${\n")
    assert text == (
        "The configuration has 2 problems.\n"
        "\n"
        "1. SHOP_TOKEN: ${NONE} is not set, and has no default.\n"
        "     cause:  It was set in .env line 2.\n"
        "     action: Set NONE in the environment, in .env or with --set, or write ${NONE:-default}.\n"
        "\n"
        "2. SHOP_NAME: ${ is not closed.\n"
        "     cause:  It was set in .env line 3.\n"
        f"     action: {MALFORMED}"
    )


def test_lines_that_double_each_other_are_stopped(tmp_path: Path) -> None:
    lines = ["SHOP_NAME=${X0}", *(f"X{n}=${{X{n + 1}}}${{X{n + 1}}}" for n in range(40)), "X40=x"]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "\n".join(lines))
    assert "refers to a variable that refers to another, too often" in {one.reason for one in caught.value.problems}
    big = ["X0=" + "x" * 200_000, *(f"X{n}=" + f"${{X{n - 1}}}" * 4 for n in range(1, 4))]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "\n".join(big))
    assert {one.reason for one in caught.value.problems} == {"becomes more than 1 MiB long"}


# --- any text

literals = st.text("ab:-{} \n", max_size=4)
names = st.sampled_from(["A", "EMPTY", "NONE", "_x1"])
parts = st.recursive(
    st.one_of(literals.map(lambda text: text.replace("}", "")), names.map(lambda name: (name, None))),
    lambda inner: st.tuples(names, st.lists(inner, max_size=3).map(tuple)),
    max_leaves=8,
)
known = st.dictionaries(names, st.sampled_from(["", "1", "${A}", "$"]))


def written(part: object) -> str:
    if isinstance(part, str):
        return part
    assert isinstance(part, tuple)
    name, default = part
    return f"${{{name}}}" if default is None else f"${{{name}:-{''.join(map(written, default))}}}"


def meant(part: object, values: Mapping[str, str]) -> str:
    """What a part stands for, by the rule of the documentation; KeyError when a variable is missing."""
    if isinstance(part, str):
        return part
    assert isinstance(part, tuple)
    name, default = part
    if default is None:
        return values[name]
    return values.get(name) or "".join(meant(inner, values) for inner in default)


@given(st.lists(parts, max_size=5), known)
def test_any_nesting_stands_for_what_the_rule_says(several: list[object], values: dict[str, str]) -> None:
    text = "".join(map(written, several))
    try:
        expected = "".join(meant(part, values) for part in several)
    except KeyError as missing:
        with pytest.raises(Unexpanded, match=rf"\$\{{{missing.args[0]}\}} is not set, and has no default"):
            expanded(text, values.get)
    else:
        assert expanded(text, values.get) == expected


@given(st.text("${}:-AB_1 \n", max_size=30), known)
def test_any_text_is_expanded_or_refused(text: str, values: dict[str, str]) -> None:
    try:
        expanded(text, values.get)
    except Unexpanded as error:
        assert error.action and "${" in text


@given(st.text())
def test_a_text_with_every_reference_escaped_is_itself(text: str) -> None:
    if not text.startswith("${") and "$${" not in text:
        text = "x" + text
    assert expanded(text.replace("${", "$${"), {}.get) == text


@given(st.dictionaries(names, st.text("${}ANOE_x1:-", max_size=12)), st.sets(names))
def test_any_dotenv_is_looked_up_or_refused(dotenv: dict[str, str], quoted: set[str]) -> None:
    lookup = Lookup([], dotenv, quoted)
    for name in dotenv:
        try:
            found = lookup(name)
        except Unexpanded:
            assert name not in quoted
        else:
            assert found is not None and (name not in quoted or found == dotenv[name])
