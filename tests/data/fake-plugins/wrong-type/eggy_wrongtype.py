"""A plugin whose hook returns something else than settings."""

from eggycore import hookimpl


@hookimpl
def register_settings():
    return ["a secret that must not be shown"]
