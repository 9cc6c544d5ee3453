"""A plugin whose hook raises, with a password in the text."""

from eggycore import hookimpl


@hookimpl
def register_settings():
    raise ValueError("cannot read postgresql://app:hunter2@db/app")
