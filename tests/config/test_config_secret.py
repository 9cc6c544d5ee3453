"""A secret is shown to nobody who does not ask for it by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import orjson
import pytest

from eggycore.config import Secret, Settings, env

PASSWORD = "correct horse"


class Account(Settings):
    password: Secret[str] = env("ACCOUNT_PASSWORD", default="battery staple")
    pin: Secret[int] | None = env("ACCOUNT_PIN", default=None)


def test_a_secret_reveals_its_value_only_when_asked() -> None:
    secret = Secret(PASSWORD)
    assert secret.reveal() == PASSWORD
    shown = f"{secret} {secret!r} {secret!s} {secret:>20} {secret} {[secret]} {vars(Account(password=secret))}"
    assert PASSWORD not in shown
    assert str(secret) == "******"
    assert repr(secret) == "Secret(******)"
    assert f"{secret:>8}" == "  ******"


def test_a_secret_has_no_attributes_that_show_it() -> None:
    secret = Secret(PASSWORD)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(AttributeError, match="a Secret does not change"):
        secret.value = "x"
    with pytest.raises(AttributeError, match="a Secret does not change"):
        del secret.value


def test_json_and_pickle_refuse_a_secret() -> None:
    settings = Account(password=Secret(PASSWORD))
    with pytest.raises(TypeError):
        json.dumps({"password": settings.password})
    with pytest.raises(TypeError):
        orjson.dumps(settings)
    assert PASSWORD.encode() not in orjson.dumps(settings, default=str)
    with pytest.raises(TypeError, match="a Secret is not pickled"):
        pickle.dumps(settings.password)


def test_secrets_are_equal_when_their_values_are() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert not Secret("")
    assert Secret("a")


def test_a_secret_is_copied_with_the_settings_that_hold_it() -> None:
    settings = Account(password=Secret(PASSWORD))
    assert copy.copy(settings.password) == settings.password
    assert dataclasses.asdict(settings)["password"] == settings.password


def test_a_plain_value_given_to_a_secret_field_becomes_a_secret() -> None:
    settings = Account(password=PASSWORD)
    assert settings.password == Secret(PASSWORD)
    assert PASSWORD not in repr(settings)
    assert Account().password == Secret("battery staple")
    assert "battery" not in repr(Account())
    assert Account().pin is None
