"""A plugin that forgot to mark its hook."""


def register_services(runtime):
    return None
