"""A plugin that wants to wrap the hooks of others."""

from eggycore import hookimpl


@hookimpl(wrapper=True, trylast=True)
def register_services(runtime):
    return (yield)
