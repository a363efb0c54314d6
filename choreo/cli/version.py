"""Which version this is.

Reading it from the installed distribution lives here. The root command prints it.
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

DISTRIBUTION = "choreo-kafka"


def version() -> str:
    """Return the version of the installed distribution; "unknown" where only the source tree is on the path."""
    try:
        return installed(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
