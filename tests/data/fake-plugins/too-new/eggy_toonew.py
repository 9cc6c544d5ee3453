"""A plugin for an eggycore that is not out yet."""

raise AssertionError("a plugin that does not fit must not be imported")
