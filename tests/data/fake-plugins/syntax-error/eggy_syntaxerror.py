"""A plugin that is not Python."""

def register_services(runtime)
    return None
