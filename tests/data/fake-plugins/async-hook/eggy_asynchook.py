"""A plugin with an async hook that may not be one."""

from eggycore import hookimpl


@hookimpl
async def register_services(runtime):
    return None
