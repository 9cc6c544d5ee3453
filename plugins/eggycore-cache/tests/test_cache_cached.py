"""`@cached`, and which cache is meant: the one set by hand or the current runtime's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.diagnostics import diagnose, render
from eggycore_cache import CacheService, NoCache, cached, close, connect, get_cache, set_cache


@pytest.fixture
async def cache() -> AsyncIterator[CacheService]:
    yield await connect()
    await close()


runs: list[object] = []


@cached(ttl=60, key="form:{form_id}", tags=("form:{form_id}", "forms"))
async def form(form_id: int, *, title: str = "none") -> dict[str, object]:
    """A form."""
    runs.append(form_id)
    return {"id": form_id, "title": title, "run": len(runs)}


class Shop:
    """Has a method whose results are kept."""

    @cached(ttl=60, key="price:{article.number}:{currency}")
    async def price(self, article: Article, currency: str = "EUR") -> str | None:
        runs.append(article)
        return None if article.number == 0 else f"{article.number} {currency}"


class Article:
    def __init__(self, number: int) -> None:
        self.number = number


@pytest.fixture(autouse=True)
def no_runs() -> None:
    runs.clear()


async def test_the_second_call_comes_from_the_cache(cache: CacheService) -> None:
    first = await form(7)
    assert await form(form_id=7) == first
    assert await form(8) != first
    assert runs == [7, 8]
    assert (form.__name__, form.__doc__) == ("form", "A form.")


async def test_a_result_is_dropped_by_its_arguments_or_by_a_tag(cache: CacheService) -> None:
    await form(7)
    assert await form.invalidate(7) is True
    assert await form.invalidate(7) is False
    await form(7)
    await cache.invalidate("form:7")
    await form(7)
    await cache.invalidate("forms")
    await form(7)
    assert runs == [7, 7, 7, 7]


async def test_a_method_is_cached_too_and_none_is_not(cache: CacheService) -> None:
    shop = Shop()
    assert [await shop.price(Article(1)) for _ in range(2)] == ["1 EUR", "1 EUR"]
    assert await shop.price(Article(1), currency="USD") == "1 USD"
    assert [await shop.price(Article(0)) for _ in range(2)] == [None, None]
    assert len(runs) == 4
    assert shop.price.key(Article(3)) == "price:3:EUR"
    assert await shop.price.invalidate(Article(1)) is True


def test_an_argument_cannot_look_like_another() -> None:
    @cached(key="pair:{a}:{b}")
    async def pair(a: object, b: object) -> int:
        return 1

    assert pair.key("1:2", "3") == "pair:1%3A2:3"
    assert pair.key("1", "2:3") == "pair:1:2%3A3"
    assert pair.key("a b%\n", "ü/é") == "pair:a%20b%25%0A:ü%2Fé"


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_every_argument_makes_a_key_of_its_own_that_caches_take(a: str, b: str) -> None:
    @cached(key="pair:{a}:{b}")
    async def pair(a: str, b: str) -> int:
        return 1

    from eggycore_cache.keys import check_key

    key = pair.key(a, b)
    check_key(key)
    assert [unquote(part) for part in key.split(":")] == ["pair", a, b]


def test_a_key_of_something_that_is_no_argument_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"\{id\} in 'form:\{id\}' is not an argument of .*read; its arguments are: form_id"
    ):

        @cached(key="form:{id}")
        async def read(form_id: int) -> int:
            return form_id


def test_a_function_that_is_not_async_is_refused() -> None:
    with pytest.raises(TypeError, match="read is not an async function; use get_or_set for others"):

        @cached(key="a")  # type: ignore[arg-type]  # the mistake under test
        def read() -> int:
            return 1


async def test_without_a_cache_it_says_how_to_get_one() -> None:
    with pytest.raises(NoCache) as told:
        await form(7)
    assert render(diagnose(told.value)) == (
        "There is no cache here.\n"
        "  cause:  No runtime with the cache plugin runs here, and set_cache was not called.\n"
        "  action: Use it in handlers and services, or call eggycore_cache.connect() first in a script."
    )


async def test_a_cache_is_set_by_hand_and_forgotten_again(cache: CacheService) -> None:
    assert get_cache() is cache
    assert set_cache(None) is cache
    with pytest.raises(NoCache):
        get_cache()
    assert set_cache(cache) is None
    await close()
    await close()
    with pytest.raises(NoCache):
        get_cache()
    set_cache(await connect())
