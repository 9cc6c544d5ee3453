from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eggycore.log.masking import MASK, VALUE_ITEMS_LIMIT, Verdict, mask_text, mask_urls, masked_fields, verdict


@pytest.mark.parametrize(
    "name",
    """password Password db_password PGPASSWORD passwd pwd passphrase secret client_secret clientSecret SECRET_KEY token
    access_token accessToken authToken x-auth-token token2 Authorization proxy_authorization auth api_key apiKey
    API_KEY APIKey X-Api-Key apikey private_key dsn DATABASE_DSN cookie Set-Cookie session_id sessionid credential jwt
    password_hash token_value connection_string""".split(),
)
def test_a_name_with_a_secret_word_is_secret(name: str) -> None:
    assert verdict(name) is Verdict.SECRET


@pytest.mark.parametrize(
    "name",
    """token_count tokenCount max_token_length token_type token_expires_at has_password password_changed_at secret_name
    cookie_count compass passenger keyboard key monkey author authority desk dsn_host password_file auth_method title
    tokenizer bypassed form_id cookies_enabled secretary""".split(),
)
def test_a_name_that_only_sounds_like_it_is_not(name: str) -> None:
    assert verdict(name) is Verdict.PLAIN


@pytest.mark.parametrize("name", ["tokens", "prompt_tokens", "completionTokens", "cookies", "secrets"])
def test_a_plural_is_a_count_when_it_is_a_number(name: str) -> None:
    assert masked_fields({name: 42}) == {name: 42}
    assert masked_fields({name: "abc"}) == {name: MASK}
    assert masked_fields({name: ["abc"]}) == {name: MASK}


def test_none_and_booleans_tell_nothing_and_stay() -> None:
    assert masked_fields({"password": None, "token": False}) == {"password": None, "token": False}


def test_a_secret_number_is_masked() -> None:
    assert masked_fields({"password": 1234}) == {"password": MASK}


def test_secrets_are_found_in_containers_in_containers() -> None:
    fields = {"request": {"headers": [{"Authorization": "Bearer abc", "Host": "forms"}]}, "pair": ("a", {"pwd": "x"})}
    assert masked_fields(fields) == {
        "request": {"headers": [{"Authorization": MASK, "Host": "forms"}]},
        "pair": ["a", {"pwd": MASK}],
    }


def test_secrets_are_found_in_named_tuples_pairs_and_enums() -> None:
    class Login(NamedTuple):
        user: str
        password: str

    class Server(Enum):
        MAIN = "postgres://app:s3cret@db/forms"

    assert masked_fields(
        {
            "login": Login("ann", "s3cret"),
            "headers": {"X-Api-Key": "abc", "Host": "forms"}.items(),
            "raw_headers": ((b"x-api-key", b"abc"),),
            "server": Server.MAIN,
            "by_server": {"postgres://app:s3cret@db/forms": 1},
        }
    ) == {
        "login": {"user": "ann", "password": MASK},
        "headers": [["X-Api-Key", MASK], ["Host", "forms"]],
        "raw_headers": [[b"x-api-key", MASK]],
        "server": "postgres://app:******@db/forms",
        "by_server": {"postgres://app:******@db/forms": 1},
    }


def test_what_was_given_is_not_changed() -> None:
    given_fields = {"a": {"password": "x"}}
    masked_fields(given_fields)
    assert given_fields == {"a": {"password": "x"}}


def test_a_large_container_is_cut() -> None:
    shown = masked_fields({"items": list(range(1500)), "map": {str(n): n for n in range(1500)}})
    assert isinstance(shown["items"], list)
    assert shown["items"][-1] == "... 500 more"
    assert isinstance(shown["map"], dict)
    assert shown["map"]["..."] == "500 more"


def test_objects_that_hold_each_other_are_cut() -> None:
    @dataclass
    class Node:
        parent: Node | None = None
        children: list[Node] = field(default_factory=list)

    root = Node()
    root.children = [Node(root) for _ in range(200)]  # eight levels of these are 200**4 nodes
    count = sum(1 for _ in flattened(masked_fields({"root": root})))
    assert VALUE_ITEMS_LIMIT <= count < 2 * VALUE_ITEMS_LIMIT


def flattened(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from flattened(item)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://app:s3cret@db/forms", "postgres://app:******@db/forms"),
        ("redis://:s3cret@cache:6379/0", "redis://:******@cache:6379/0"),
        ("mysql://app:p@ss/w0rd@db:3306/x", "mysql://app:******@db:3306/x"),
        ("redis://a:x@h1,redis://b:y@h2", "redis://a:******@h1,redis://b:******@h2"),
        ("http://forms:8080/x?mail=ann@example.org", "http://forms:8080/x?mail=ann@example.org"),
        ("https://forms/x", "https://forms/x"),
        ("https://forms/x?page=2&token=abc&q=1", "https://forms/x?page=2&token=******&q=1"),
        ("ann@example.org", "ann@example.org"),
        ("/forms?page=2&access_token=abc", "/forms?page=2&access_token=******"),
        ("api_key=abc&page=2", "api_key=******&page=2"),
        ("https://forms/x?page=2#id_token=abc", "https://forms/x?page=2#id_token=******"),
        ("Server=db;Password=abc", "Server=db;Password=******"),
        ("https://files/7?X-Amz-Signature=abc&sig=def", "https://files/7?X-Amz-Signature=******&sig=******"),
        ("/forms?page=2&design=a&title=b", "/forms?page=2&design=a&title=b"),
    ],
)
def test_passwords_in_urls_are_masked(text: str, shown: str) -> None:
    assert mask_urls(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=db password=s3cret dbname=forms", "host=db password=****** dbname=forms"),
        ("{'password': 's3cret', 'user': 'ann'}", "{'password': ******, 'user': 'ann'}"),
        ('{"api_key": "s3cret"}', '{"api_key": ******}'),
        ("Authorization: Bearer abcdef", "Authorization: ******"),
        ("sent Bearer abcdef0123456789", "sent Bearer ******"),
        ("Cookie: a=1; b=2", "Cookie: ******"),
        ("Set-Cookie: session=abc; Path=/", "Set-Cookie: ******"),
        ("token_count=5 title=x", "token_count=5 title=x"),
        ("listening on 0.0.0.0:8080", "listening on 0.0.0.0:8080"),
    ],
)
def test_secrets_in_texts_of_others_are_masked(text: str, shown: str) -> None:
    assert mask_text(text) == shown


@given(st.text(st.characters(exclude_characters="@'\"<>", exclude_categories=("Z", "C")), min_size=6))
def test_no_password_survives_in_a_url(password: str) -> None:
    assume("://" not in password)
    secret = f"!{password}!"
    assert secret not in mask_urls(f"postgres://app:{secret}@db/forms")


@pytest.mark.parametrize(
    "text", ["a-" * 50_000, "://" * 30_000 + "@", "://:" * 20_000 + "@", "password" * 10_000, "?token" * 20_000 + "="]
)
def test_masking_a_long_text_ends(text: str) -> None:
    mask_text(text)


def test_verdicts_of_names_made_from_data_do_not_pile_up() -> None:
    from eggycore.log import masking

    for number in range(masking._VERDICTS_LIMIT + 10):
        verdict(f"field_{number}")
    assert len(masking._verdicts) <= masking._VERDICTS_LIMIT
