"""A plugin that does everything right."""

from contextlib import asynccontextmanager

from eggycore import HealthCheck, Initializer, Service, Settings, env, hookimpl


class GoodSettings(Settings):
    words: str = env("GOOD_WORDS", default="well done", doc="What to say.")


@asynccontextmanager
async def open_words():
    yield {"hello": "world"}


async def run(control):
    control.started()
    await control.stopping.wait()


@hookimpl
def register_settings():
    return GoodSettings


@hookimpl
def init_infra(runtime):
    return Initializer(name="words", open=open_words, provides=dict)


@hookimpl
def register_services(runtime):
    yield Service(name="good-one", run=run)
    yield [Service(name="good-two", run=run), None]


@hookimpl
def register_health_checks():
    return HealthCheck(name="good", check=lambda: None)


@hookimpl
async def config_changed(change):
    change.seen.append("good")
