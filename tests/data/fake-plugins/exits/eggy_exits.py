"""A plugin that leaves on import."""

import sys

sys.exit("no licence")
