"""A plugin that misspells two hooks."""

from eggycore import hookimpl


@hookimpl
def register_servces(runtime):
    return None


@hookimpl
def serve_tea(runtime):
    return None


@hookimpl(optionalhook=True)
def hook_of_the_future(runtime):
    return None
