"""The work: a file that is touched while the service lives and removed when it stops."""

from pathlib import Path
from time import time


class Heart:
    """Owned by one runtime; used on its event loop."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.beats = 0

    def beat(self) -> None:
        """Write the time. Raises OSError when the file cannot be written."""
        self._file.write_text(f"{time():.3f}\n")
        self.beats += 1

    def age(self) -> float:
        """Seconds since the last beat that reached the file."""
        return time() - float(self._file.read_text())

    def rest(self) -> None:
        """Remove the file: who watches it knows that the service was stopped on purpose."""
        self._file.unlink(missing_ok=True)
