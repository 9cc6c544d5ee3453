"""The core's settings: the names, the defaults, and what is checked between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Config, Declared, Facts, Secret, Sources, load, read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin

CORE = Declared(Config, Origin("eggycore", kind="core"))
LAPTOP = Facts()
POD = Facts(kubernetes=True, container=True)
CONTAINER = Facts(container=True)
TERMINAL = Facts(terminal=True)


def read(**environ: str) -> Config:
    return read_from_env(Config, {"SERVICE_NAME": "forms"} | environ)


def report(**environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(**environ)
    return render(diagnose(caught.value))


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("ENVIRONMENT", "development"),
        ("BUSINESS_HTTP_PORT", 8080),
        ("BUSINESS_GRPC_PORT", 9090),
        ("HEALTH_CHECK_PORT", 8081),
        ("ENABLE_BUSINESS_HTTP", True),
        ("ENABLE_BUSINESS_GRPC", True),
        ("ENABLE_HEALTH_CHECK", True),
        ("LOG_LEVEL", "info"),
        ("SHUTDOWN_TIMEOUT", 25),
        ("MANAGEMENT_TOKEN", None),
    ],
)
def test_the_defaults(key: str, default: object) -> None:
    variable = next(variable for variable in Config.__variables__ if variable.key == key)
    assert [variable.default_for(facts) for facts in (LAPTOP, POD, TERMINAL)] == [default] * 3


@pytest.mark.parametrize(
    ("key", "laptop", "container", "pod", "terminal"),
    [
        ("BIND_HOST", "127.0.0.1", "0.0.0.0", "0.0.0.0", "127.0.0.1"),
        ("LOG_FORMAT", "json", "json", "json", "console"),
        ("STARTUP_TIMEOUT", 60, 60, 300, 60),
        ("SHUTDOWN_DRAIN_DELAY", 0, 0, 5, 0),
    ],
)
def test_the_defaults_that_depend_on_the_place(
    key: str, laptop: object, container: object, pod: object, terminal: object
) -> None:
    variable = next(variable for variable in Config.__variables__ if variable.key == key)
    places = (LAPTOP, CONTAINER, POD, TERMINAL)
    assert [variable.default_for(facts) for facts in places] == [laptop, container, pod, terminal]


def test_the_core_has_these_variables_and_no_others() -> None:
    assert {variable.key for variable in Config.__variables__} == {
        "SERVICE_NAME",
        "ENVIRONMENT",
        "ENABLE_BUSINESS_HTTP",
        "BUSINESS_HTTP_PORT",
        "ENABLE_BUSINESS_GRPC",
        "BUSINESS_GRPC_PORT",
        "ENABLE_HEALTH_CHECK",
        "HEALTH_CHECK_PORT",
        "BIND_HOST",
        "MANAGEMENT_TOKEN",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "STARTUP_TIMEOUT",
        "CONFIG_DIR",
        "CONFIG_WATCH",
        "CONFIG_RELOAD_SPREAD",
        "SHUTDOWN_TIMEOUT",
        "SHUTDOWN_DRAIN_DELAY",
    }


def test_every_variable_is_read_from_the_environment() -> None:
    assert read(
        ENVIRONMENT="staging-2",
        ENABLE_BUSINESS_HTTP="false",
        BUSINESS_HTTP_PORT="1",
        ENABLE_BUSINESS_GRPC="no",
        BUSINESS_GRPC_PORT="2",
        ENABLE_HEALTH_CHECK="0",
        HEALTH_CHECK_PORT="3",
        BIND_HOST="::1",
        MANAGEMENT_TOKEN="s3cret",
        LOG_LEVEL="DEBUG",
        LOG_FORMAT="console",
        STARTUP_TIMEOUT="2m",
        SHUTDOWN_TIMEOUT="1m30s",
        SHUTDOWN_DRAIN_DELAY="250ms",
    ) == Config(
        service_name="forms",
        environment="staging-2",
        enable_business_http=False,
        business_http_port=1,
        enable_business_grpc=False,
        business_grpc_port=2,
        enable_health_check=False,
        health_check_port=3,
        bind_host="::1",
        management_token=Secret("s3cret"),
        log_level="debug",
        log_format="console",
        startup_timeout=120,
        shutdown_timeout=90,
        shutdown_drain_delay=0.25,
    )


def test_a_config_made_in_code_takes_the_defaults_and_not_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSINESS_HTTP_PORT", "1234")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    config = Config(service_name="forms")
    assert config.business_http_port == 8080
    assert config.startup_timeout == 300


@given(st.integers(0, 65535))
def test_every_port_number_is_a_port(port: int) -> None:
    config = read(BUSINESS_HTTP_PORT=str(port), ENABLE_BUSINESS_GRPC="false", ENABLE_HEALTH_CHECK="false")
    assert config.business_http_port == port


@given(st.integers().filter(lambda number: not 0 <= number <= 65535))
def test_no_other_number_is_a_port(number: int) -> None:
    with pytest.raises(ConfigError) as caught:
        read(BUSINESS_HTTP_PORT=str(number))
    (problem,) = caught.value.problems
    assert problem.key == "BUSINESS_HTTP_PORT"
    assert problem.reason == ("less than 0" if number < 0 else "more than 65535")


@given(st.text(st.characters(exclude_categories=["Nd", "Cs"])))
def test_no_text_without_digits_is_a_port(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(BUSINESS_HTTP_PORT=text)
    (problem,) = caught.value.problems
    assert problem.reason == ("not a whole number" if text.strip() else "empty")


def test_a_bad_port_is_reported_with_the_range() -> None:
    assert report(BUSINESS_HTTP_PORT="80800") == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. BUSINESS_HTTP_PORT '80800': more than 65535.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Set it to a port number from 0 to 65535 (0 takes any free port)."
    )


def test_a_port_that_kubernetes_set_for_a_service_of_that_name_is_explained() -> None:
    assert report(BUSINESS_HTTP_PORT="tcp://10.0.0.7:80") == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. BUSINESS_HTTP_PORT 'tcp://10.0.0.7:80': not a whole number.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Kubernetes sets it for a Service of that name: "
        "put enableServiceLinks: false into the pod's spec."
    )


def test_a_wrong_log_level_is_reported_with_the_nearest_right_one() -> None:
    assert report(LOG_LEVEL="warning") == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. LOG_LEVEL 'warning': not one of the choices.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Set it to one of debug, info, warn, error, fatal. Did you mean 'warn'?"
    )


def test_a_missing_name_is_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        read_from_env(Config, {})
    assert render(diagnose(caught.value)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. SERVICE_NAME: required, and not set.\n"
        "     cause:  Declared by eggycore.\n"
        "     action: Set it in the environment, in .env or with --set."
    )


def test_two_services_on_one_port_are_reported_and_what_was_set_is_to_blame() -> None:
    assert report(BUSINESS_HTTP_PORT="9090") == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. BUSINESS_HTTP_PORT '9090': the same port as BUSINESS_GRPC_PORT.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Set BUSINESS_HTTP_PORT or BUSINESS_GRPC_PORT to another port, or to 0 for any free one."
    )


def test_health_may_not_share_the_port_of_business_traffic() -> None:
    assert "HEALTH_CHECK_PORT '8080': the same port as BUSINESS_HTTP_PORT." in report(HEALTH_CHECK_PORT="8080")


def test_ports_may_be_equal_when_one_is_off_or_both_are_any() -> None:
    assert read(BUSINESS_HTTP_PORT="9090", ENABLE_BUSINESS_GRPC="false").business_http_port == 9090
    assert read(BUSINESS_HTTP_PORT="0", BUSINESS_GRPC_PORT="0", HEALTH_CHECK_PORT="0").business_grpc_port == 0


@pytest.mark.parametrize("word", ["development", "Prod", "eu-west-1", "test_2"])
def test_an_environment_is_any_word(word: str) -> None:
    assert read(ENVIRONMENT=word).environment == word


@pytest.mark.parametrize("word", ["two words", "1st", "../etc", "a.b", "-x"])
def test_an_environment_that_is_not_a_word_is_reported(word: str) -> None:
    assert report(ENVIRONMENT=word) == (
        "The configuration has 1 problem.\n"
        "\n"
        f"1. ENVIRONMENT {word!r}: not one word.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Set it to a letter followed by letters, digits, hyphens or underscores."
    )


def test_a_drain_delay_must_leave_time_to_stop() -> None:
    assert report(SHUTDOWN_TIMEOUT="9s", KUBERNETES_SERVICE_HOST="10.0.0.1") == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. SHUTDOWN_DRAIN_DELAY '5s': leaves less than 5 s of SHUTDOWN_TIMEOUT, which includes it, for closing.\n"
        "     cause:  Declared by eggycore.\n"
        "     action: Make SHUTDOWN_TIMEOUT at least 5 s longer than it, or set it to 0."
    )


@pytest.mark.parametrize(
    ("timeout", "delay", "right"),
    [("10s", "5s", True), ("10s", "5001ms", False), ("1s", "0", True), ("3s", "100ms", False)],
)
def test_a_drain_delay_leaves_closing_its_five_seconds(timeout: str, delay: str, right: bool) -> None:
    environ = {"SERVICE_NAME": "a", "SHUTDOWN_TIMEOUT": timeout, "SHUTDOWN_DRAIN_DELAY": delay}
    if right:
        load([CORE], Sources(environ, None))
    else:
        with pytest.raises(ConfigError):
            load([CORE], Sources(environ, None))


def test_a_config_made_in_code_is_checked_like_one_that_was_read() -> None:
    given_config = Config(service_name="", business_http_port=70000, log_level="loud")
    with pytest.raises(ConfigError) as caught:
        load([CORE], Sources({}, Path()), given=[given_config])
    assert render(diagnose(caught.value)) == (
        "The configuration has 3 problems.\n"
        "\n"
        "1. SERVICE_NAME: empty.\n"
        "     cause:  It was set in code, declared by eggycore.\n"
        "     action: Set it to text.\n"
        "\n"
        "2. BUSINESS_HTTP_PORT '70000': more than 65535.\n"
        "     cause:  It was set in code, declared by eggycore.\n"
        "     action: Set it to a port number from 0 to 65535 (0 takes any free port).\n"
        "\n"
        "3. LOG_LEVEL 'loud': not one of the choices.\n"
        "     cause:  It was set in code, declared by eggycore.\n"
        "     action: Set it to one of debug, info, warn, error, fatal."
    )
