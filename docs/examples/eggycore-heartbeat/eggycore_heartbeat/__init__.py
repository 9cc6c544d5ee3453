"""What an app may import from this plugin. It never imports plugin.py."""

from eggycore_heartbeat.heart import Heart

__all__ = ["Heart"]
