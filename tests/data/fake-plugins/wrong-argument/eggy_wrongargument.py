"""A plugin that asks for arguments that its hooks do not have."""

from eggycore import hookimpl


@hookimpl
def init_infra(runtime, loop):
    return None
