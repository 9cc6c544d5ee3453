"""Not the module that the entry point names."""
