"""A plugin that wants to be called out of turn."""

from eggycore import hookimpl


@hookimpl(tryfirst=True)
def register_services(runtime):
    return None
