"""Manifests are read with lines and written for people; what is no manifest is said without repeating it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eggycore.diagnostics import diagnose, render
from eggycore_k8s_watch.manifest_documents import Place, read_files, read_text
from eggycore_k8s_watch.manifest_errors import ManifestUnreadable
from eggycore_k8s_watch.manifest_yaml import Comment, write_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "yes",
        "NO",
        "1",
        "1e3",
        "0x1f",
        "1:30",
        "012",
        "~",
        "",
        "a: b",
        "- a",
        "#",
        "2020-01-01",
        ".inf",
        "=",
        "<<",
        "a #b",
    ]
)
KEYS = TEXTS.filter(lambda text: not text.startswith("#"))
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def plain(place: Place) -> Any:
    if isinstance(place.value, dict):
        return {key: plain(one) for key, one in place.value.items()}
    return [plain(one) for one in place.value] if isinstance(place.value, list) else place.value


def unlisted(value: Any) -> Any:
    """The value with a list inside a list taken out, which no manifest has."""
    if isinstance(value, list):
        return [unlisted(one) for one in value if not isinstance(one, list)]
    return {key: unlisted(one) for key, one in value.items()} if isinstance(value, dict) else value


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5))
def test_what_is_written_is_what_yaml_reads(value: dict[str, Any]) -> None:
    value = unlisted(value)
    assert yaml.safe_load(write_yaml(value)) == value


def test_comments_stand_in_front_of_what_they_are_about() -> None:
    value = {
        Comment("first"): None,
        "a": 1,
        "list": [Comment("two\nlines"), {Comment("inside"): None, "b": "x", "c": {}}, "yes"],
        "empty": {Comment("nothing yet"): None},
    }
    assert write_yaml(value) == (
        '# first\na: 1\nlist:\n# two\n# lines\n# inside\n- b: x\n  c: {}\n- "yes"\nempty: {}\n  # nothing yet\n'
    )
    assert yaml.safe_load(write_yaml(value)) == {"a": 1, "list": [{"b": "x", "c": {}}, "yes"], "empty": {}}


@given(st.text() | st.binary().map(lambda content: content.decode("latin-1")))
def test_no_text_makes_the_reader_fail_in_another_way(text: str) -> None:
    try:
        read_text(text, "x.yaml")
    except ManifestUnreadable as error:
        assert render(diagnose(error)).startswith("x.yaml cannot be read as Kubernetes manifests.\n  cause:  ")


@given(st.dictionaries(st.sampled_from("abcdef"), VALUES, max_size=4))
def test_what_is_read_is_what_yaml_reads(spec: dict[str, Any]) -> None:
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "X", "spec": spec}, allow_unicode=True)
    (document,) = read_text(text, "x.yaml")
    assert plain(document.root["spec"]) == yaml.safe_load(text)["spec"]


def test_everything_knows_its_line() -> None:
    (_, second) = read_text(
        "apiVersion: v1\nkind: A\n---\n# comment\napiVersion: v1\nkind: B\nspec:\n  a:\n  - b: 1\n", "f"
    )
    (item,) = second.root.at("spec", "a").items
    assert (second.root["kind"].line, item.line, item["b"].number(0), item["missing"].line) == (6, 9, 1, 9)


def test_anchors_and_merges_are_followed() -> None:
    text = "apiVersion: v1\nkind: A\nbase: &base {a: 1, b: 1}\nspec: {<<: *base, b: 2}\n"
    (document,) = read_text(text, "f")
    assert plain(document.root["spec"]) == {"a": 1, "b": 2}
    assert document.repeated == ()


def test_a_list_holds_objects_and_an_empty_document_none() -> None:
    text = "---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A}\n- {apiVersion: v1, kind: B}\n"
    assert [document.kind for document in read_text(text, "f")] == ["A", "B"]


BOMB = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{at}: &a{at} [{','.join([f'*a{at - 1}'] * 10)}]\n" for at in range(1, 9)
)


@pytest.mark.parametrize(
    ("content", "cause", "action"),
    [
        (b"", "There is no object.", "Name the files that kubectl is to apply."),
        (b"\xff\xfe\x00", "It is not UTF-8.", "Save it as UTF-8."),
        (
            b"a: 1\n\tb: 2\n",
            "Line 2: found character '\\t' that cannot start any token.",
            "Correct the file; kubectl apply --dry-run=client -f FILE reads it likewise.",
        ),
        (
            b"password: *hunter2\n",
            "Line 1: found undefined alias.",
            "Correct the file; kubectl apply --dry-run=client -f FILE reads it likewise.",
        ),
        (
            b"kind: Secret\npassword: [hunter2\n",
            "Line 3: expected ',' or ']', but got '<stream end>'.",
            "Correct the file; kubectl apply --dry-run=client -f FILE reads it likewise.",
        ),
        (
            b"a\0b",
            "It is not YAML: characters or nesting that no manifest has.",
            "Correct the file; kubectl apply --dry-run=client -f FILE reads it likewise.",
        ),
        (
            b"[" * 100_000,
            "It is not YAML: characters or nesting that no manifest has.",
            "Correct the file; kubectl apply --dry-run=client -f FILE reads it likewise.",
        ),
        (
            b"kind: Deployment\nreplicas: {{ .Values.replicas }}\n",
            "Line 1: not an object with apiVersion and kind.",
            "Render it first, and check the result: helm template . | eggycore k8s check -",
        ),
        (
            b"replicas: 3\n",
            "Line 1: not an object with apiVersion and kind.",
            "Name files with Kubernetes objects only, rendered as kubectl gets them.",
        ),
        (
            BOMB.encode(),
            "It holds more than 100000 values, aliases followed.",
            "Write it without aliases of aliases.",
        ),
        (
            b"a: &a [*a]\n",
            "It holds more than 100000 values, aliases followed.",
            "Write it without aliases of aliases.",
        ),
        (b"#" * 5_000_000, "It is longer than 4 MiB.", "Name the files that kubectl is to apply."),
        (None, "There is no such file.", "Correct the path, or make the file readable for this user."),
    ],
)
def test_what_is_no_manifest_is_said(tmp_path: Path, content: bytes | None, cause: str, action: str) -> None:
    file = tmp_path / "x.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ManifestUnreadable) as caught:
        read_files([str(file)])
    assert render(diagnose(caught.value)) == (
        f"{file} cannot be read as Kubernetes manifests.\n  cause:  {cause}\n  action: {action}"
    )
