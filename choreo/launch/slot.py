"""Which of the equal processes on a host this one is.

Claiming the first free slot, by locks that the operating system takes back, lives here; what follows from the slot's
name does not. `running` claims one where the settings name no instance.
"""

import re
import socket
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

from filelock import FileLock, Timeout

from choreo.errors import ChoreoError

SLOTS_MAX = 1024


class Slot:
    """One claimed place among the processes of a host; held until released, or until the process ends."""

    def __init__(self, number: int, locks: ExitStack) -> None:
        self.number = number  # Counted from 0.
        # For `group.instance.id` and `transactional.id`.
        self.instance = f"{re.sub(r'[^A-Za-z0-9._-]', '-', socket.gethostname())}-{number}"
        self._locks = locks

    def release(self) -> None:
        """Give the slot back; releasing twice is fine."""
        self._locks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def claim_slot(*groups: str, directory: Path | None = None) -> Slot:
    """Take the first slot of this host that is free in all groups, so that equal commands share work and fence nobody.

    The operating system gives a slot back when its process ends, however it ends, so the next process takes over the
    identity and with it the partitions.

    Args:
        groups: Names of the services that run in this process.
        directory: Where the lock files are; in the host's directory for temporary files if None.

    Raises:
        ChoreoError: If no lock file can be opened or all slots are taken. Naming `instance` in the settings helps.
    """
    place = directory or Path(tempfile.gettempdir()) / "choreo-slots"
    if not place.exists():
        place.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):
            # Users of one host share the slots, since they share its name; nobody may remove another's file.
            place.chmod(0o1777)
    for number in range(SLOTS_MAX):
        with ExitStack() as locks:
            try:
                # Sorted, so that two processes that want overlapping groups meet at the same file.
                for group in sorted(groups):
                    path = place / f"{quote(group, safe='')}-{number}.lock"
                    locks.enter_context(FileLock(path, timeout=0, thread_local=False))
            except (Timeout, PermissionError):
                continue  # Another process's slot, or another user's: those may not even be opened.
            except OSError as error:
                raise ChoreoError(
                    f"The lock file {path} cannot be opened: {error.strerror}. "
                    "Set CHOREO_INSTANCE to this process's own name."
                ) from error
            return Slot(number, locks.pop_all())
    raise ChoreoError(
        f"No slot for {', '.join(sorted(groups))} is free in {place}. Set CHOREO_INSTANCE to this process's own name."
    )
