"""What the keys of a ConfigMap set: values, documents of this environment and of others, and what of them is kept."""

from __future__ import annotations

from eggycore.config.sources import Layer
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore_k8s_watch.objects import Object
from eggycore_k8s_watch.overlays import ConfigMaps, Overlay, overlay_of

ORIGIN = "ConfigMap shop/forms"


def of(environment: str = "production", **data: str) -> Overlay:
    """Keys are written with __ for a dot."""
    return overlay_of(ORIGIN, {key.replace("__", "."): text for key, text in data.items()}, environment=environment)


def effective(layers: tuple[Layer, ...]) -> dict[str, str]:
    """What counts of several layers."""
    return {key: text for layer in layers for key, text in layer.values.items()}


def configmap(name: str = "forms", binary: tuple[str, ...] = (), **data: str) -> Object:
    texts = {key.replace("__", "."): text for key, text in data.items()}
    return {"metadata": {"name": name}, "data": texts, "binaryData": dict.fromkeys(binary, "AA==")}


def origins(layers: tuple[Layer, ...]) -> dict[str, str]:
    return {key: layer.origin_of(key) for layer in layers for key in layer.values}


def test_a_plain_key_is_a_variable_without_the_line_end_that_a_file_has() -> None:
    overlay = of(LOG_LEVEL="debug\n", GREETING="two\nlines")
    assert effective(overlay.layers) == {"LOG_LEVEL": "debug", "GREETING": "two\nlines"}
    assert origins(overlay.layers)["LOG_LEVEL"] == "ConfigMap shop/forms, key LOG_LEVEL"
    assert [layer.origin for layer in overlay.layers] == [ORIGIN]


def test_a_key_that_ends_in_a_format_is_a_document_and_every_value_has_its_line() -> None:
    overlay = of(application__yaml="log:\n  level: debug\n", more__json='{\n "GREETING": "hi"}', x__toml="A = 1\n")
    assert effective(overlay.layers) == {"LOG_LEVEL": "debug", "GREETING": "hi", "A": "1"}
    assert origins(overlay.layers) == {
        "LOG_LEVEL": "ConfigMap shop/forms, key application.yaml line 2",
        "GREETING": "ConfigMap shop/forms, key more.json line 2",
        "A": "ConfigMap shop/forms, key x.toml line 1",
    }
    assert overlay.problems == ()


def test_base_is_weakest_then_others_by_name_then_the_environment_then_plain_keys() -> None:
    documents = {
        "production__yaml": "{A: production, B: production, C: production}",
        "zebra__json": '{"A": "zebra", "B": "zebra", "C": "zebra", "D": "zebra"}',
        "apple__toml": 'A = "apple"\nD = "apple"\nE = "apple"',
        "base__yml": "{A: base, E: base, F: base}",
    }
    overlay = of(**documents, B="plain")
    assert effective(overlay.layers) == {
        "A": "production",
        "B": "plain",
        "C": "production",
        "D": "zebra",
        "E": "apple",
        "F": "base",
    }


def test_documents_of_other_environments_do_not_count_and_need_not_be_right() -> None:
    documents = {"staging__yaml": "A: staging", "production__yaml": "A: production", "development__json": "{"}
    assert effective(of("staging", **documents).layers) == {"A": "staging"}
    assert effective(of("production", **documents).layers) == {"A": "production"}
    assert of("staging", **documents).problems == ()
    assert effective(of("canary", **documents, canary__yaml="A: canary").layers) == {"A": "canary"}


def test_a_document_that_cannot_be_read_is_a_problem_with_key_and_line() -> None:
    overlay = of(base__yaml="log:\n\tlevel: hunter2\n", LOG_LEVEL="debug")
    assert render(diagnose(ConfigError(overlay.problems))) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. ConfigMap shop/forms, key base.yaml, line 2, column 1: indented with a tab.\n"
        "     action: Indent with spaces: YAML allows no tabs there."
    )


def test_what_is_binary_is_ignored_with_a_word() -> None:
    overlay = overlay_of(ORIGIN, {}, environment="production", binary=["logo.png"])
    assert overlay.warnings == ("ConfigMap shop/forms, key logo.png, is ignored: it is binary data, not text.",)
    assert overlay.layers == ()


def test_of_several_configmaps_the_later_name_wins() -> None:
    maps = ConfigMaps(namespace="shop", environment="production")
    maps.take({"b": configmap("b", A="b", B="b"), "a": configmap("a", binary=("x",), A="a", C="a")})
    assert effective(maps.layers) == {"A": "b", "B": "b", "C": "a"}
    assert maps.troubles == ()
    assert maps.warnings == ("ConfigMap shop/a, key x, is ignored: it is binary data, not text.",)


def test_a_deleted_configmap_keeps_its_values_until_it_is_back() -> None:
    maps = ConfigMaps(namespace="shop", environment="production")
    maps.take({"forms": configmap(A="1"), "mails": configmap("mails", B="1")})
    maps.take({"mails": configmap("mails", B="2")})
    assert effective(maps.layers) == {"A": "1", "B": "2"}
    assert maps.troubles == ("ConfigMap shop/forms is deleted; its last values are kept",)
    maps.take({"forms": configmap(B="3"), "mails": configmap("mails", B="2")})
    assert effective(maps.layers) == {"B": "2"}
    assert maps.troubles == ()


def test_a_configmap_that_cannot_be_read_keeps_its_last_good_values_and_the_others_go_on() -> None:
    maps = ConfigMaps(namespace="shop", environment="production")
    maps.take({"forms": configmap(A="1"), "mails": configmap("mails", B="1")})
    problems = maps.take({"forms": configmap(A="2", base__json="{"), "mails": configmap("mails", B="2")})
    assert [problem.key for problem in problems] == [maps.troubles[0].partition(": ")[0]]
    assert effective(maps.layers) == {"A": "1", "B": "2"}
    assert maps.troubles[0].startswith("ConfigMap shop/forms, key base.json, line 1")
    assert maps.troubles[0].endswith("; the last good values are kept")
    assert maps.take({"forms": configmap(A="2"), "mails": configmap("mails", B="2")}) == ()
    assert effective(maps.layers) == {"A": "2", "B": "2"}
    assert maps.troubles == ()


def test_a_configmap_that_was_never_right_sets_nothing() -> None:
    maps = ConfigMaps(namespace="shop", environment="production")
    assert len(maps.take({"forms": configmap(A="2", base__json="")})) == 1
    assert maps.layers == ()
    assert maps.take({}) == ()
    assert maps.troubles == ()


def test_data_that_is_none_is_no_fault() -> None:
    maps = ConfigMaps(namespace="shop", environment="production")
    maps.take({"forms": {"metadata": {"name": "forms"}, "data": None}})
    assert maps.layers == ()
