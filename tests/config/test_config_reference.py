"""What is generated for people is right: the example .env file can be read, and the docs show every variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import (
    Config,
    Declared,
    Duration,
    Secret,
    Settings,
    Sources,
    env,
    env_example,
    load,
    reference_markdown,
    replace_reference,
)
from eggycore.config.dotenv_file import read_dotenv
from eggycore.config.reference import REFERENCE_BEGIN, REFERENCE_END, NoReferenceBlock, reference_block
from eggycore.types import Origin

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
CORE = Declared(Config, Origin("eggycore", kind="core"))


class Shop(Settings):
    name: str = env("SHOP_NAME", doc="Name over the door.")
    greeting: str = env("SHOP_GREETING", default="Don't | panic # yet", doc="What | is said.")
    token: Secret[str] = env("SHOP_TOKEN", default="hunter2", doc="Who may enter.")
    wait: Duration = env("SHOP_WAIT", default=0.25, ge=0.1, le=60, unit="ms", reload=True, doc="Time to wait.")


SHOP = Declared(Shop, Origin("shop", "shop-dist", "1.0"))


def test_an_example_names_every_variable() -> None:
    assert env_example([SHOP]) == (
        "# plugin shop (shop-dist): Shop\n"
        "\n"
        "# Name over the door. (text; required)\n"
        "SHOP_NAME=\n"
        "\n"
        "# What | is said. (text; default: Don't | panic # yet)\n"
        "# SHOP_GREETING='Don\\'t | panic # yet'\n"
        "\n"
        "# Who may enter. (secret text; default: ******)\n"
        "# SHOP_TOKEN=\n"
        "\n"
        "# Time to wait. At least 100ms. At most 1m. (duration (ms); default: 250ms)\n"
        "# SHOP_WAIT=250ms\n"
    )


def test_a_required_variable_that_is_known_is_an_example_of_its_default() -> None:
    example = env_example([SHOP], known={"SHOP_NAME": "corner shop"})
    assert example.startswith(
        "# plugin shop (shop-dist): Shop\n"
        "\n"
        "# Name over the door. (text; default: corner shop)\n"
        "# SHOP_NAME='corner shop'\n"
    )


def test_an_example_with_its_defaults_switched_on_means_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(switched_on(env_example([SHOP]).replace("SHOP_NAME=", "SHOP_NAME=x")))
    shop = load([SHOP], Sources({}, tmp_path))[Shop]
    assert shop == Shop(name="x")


def test_the_example_of_the_core_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(switched_on(env_example([CORE]).replace("SERVICE_NAME=", "SERVICE_NAME=x")))
    assert load([CORE], Sources({}, tmp_path))[Config].service_name == "x"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1))
def test_every_default_text_survives_the_example(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    class Said(Settings):
        word: str = env("SAID_WORD", default=text, allow_empty=True)

    file = tmp_path_factory.mktemp("example") / ".env"
    file.write_text(switched_on(env_example([Declared(Said, Origin("said"))])))
    found = read_dotenv(file)
    assert found.problems == ()
    assert dict(found.values) == {"SAID_WORD": text}


def switched_on(example: str) -> str:
    """The example with the # removed that stands before each default."""
    return re.sub(r"^# (?=[A-Z_]+=.)", "", example, flags=re.MULTILINE)


def test_a_table_shows_every_variable_of_an_owner() -> None:
    assert reference_markdown([SHOP]) == (
        "### plugin shop (shop-dist)\n"
        "\n"
        "| variable | type | default | reload | meaning |\n"
        "|---|---|---|---|---|\n"
        "| `SHOP_NAME` | text | required |  | Name over the door. |\n"
        "| `SHOP_GREETING` | text | Don't \\| panic # yet |  | What \\| is said. |\n"
        "| `SHOP_TOKEN` | secret text | ****** |  | Who may enter. |\n"
        "| `SHOP_WAIT` | duration (ms) | 250ms | yes | Time to wait. At least 100ms. At most 1m. |"
    )


def test_the_settings_of_one_owner_share_a_table() -> None:
    class More(Settings):
        size: int = env("SHOP_SIZE", default=1, doc="Rooms.")

    text = reference_markdown([SHOP, CORE, Declared(More, SHOP.origin)])
    assert text.count("### ") == 2
    assert text.index("SHOP_SIZE") < text.index("### eggycore")


def test_the_reference_is_replaced_and_nothing_else() -> None:
    page = f"# Title\n{REFERENCE_BEGIN}\nold\n{REFERENCE_END}\nend\n"
    replaced = replace_reference(page, "new")
    assert replaced == f"# Title\n{REFERENCE_BEGIN}\n\nnew\n\n{REFERENCE_END}\nend\n"
    assert replace_reference(replaced, "new") == replaced


@pytest.mark.parametrize(
    "page",
    ["", REFERENCE_BEGIN, f"{REFERENCE_END}{REFERENCE_BEGIN}", f"{REFERENCE_BEGIN}{REFERENCE_BEGIN}{REFERENCE_END}"],
)
def test_a_page_without_its_markers_is_refused(page: str) -> None:
    with pytest.raises(NoReferenceBlock):
        replace_reference(page, "new")


def test_the_markers_of_the_command_are_kept_like_those_of_make_docs() -> None:
    page = f"# Title\n{reference_block([SHOP])}\nend\n"
    assert page.startswith(
        "# Title\n<!-- reference: begin (generated by `eggycore config docs`, do not edit) -->\n\n### plugin shop"
    )
    assert replace_reference(page, reference_markdown([SHOP])) == page


def test_a_file_whose_content_is_taken_over_says_so() -> None:
    class Seal(Settings):
        file: Path | None = env("SEAL_FILE_PATH", default=None, contents=True, doc="What closes letters.")

    assert reference_markdown([Declared(Seal, SHOP.origin)]).endswith(
        "| `SEAL_FILE_PATH` | path or nothing | none | its content | What closes letters. |"
    )


def test_the_page_of_the_docs_shows_the_variables_of_the_core_as_they_are() -> None:
    page = PAGE.read_text()
    assert reference_markdown([CORE]) in page, "run `make docs`"
    assert replace_reference(page, "new") != page
