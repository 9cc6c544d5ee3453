"""The plugin's settings: one class, one owner for each variable."""

from pathlib import Path

from eggycore import Settings, env


class HeartbeatSettings(Settings):
    """Read with `runtime.config[HeartbeatSettings]`."""

    file: Path = env("HEARTBEAT_FILE", default=Path("heartbeat.txt"), doc="File that holds the time of the last beat.")
    every: float = env("HEARTBEAT_EVERY", default=1.0, ge=0.01, unit="s", reload=True, doc="Seconds between two beats.")
