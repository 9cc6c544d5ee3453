"""A plugin that needs a module that is not there."""

import a_driver_that_is_not_installed  # noqa: F401  # importing it is the point
