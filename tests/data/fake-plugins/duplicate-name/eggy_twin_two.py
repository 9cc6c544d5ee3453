"""One of two plugins of the same name."""

raise AssertionError("a plugin with an ambiguous name must not be imported")
