"""The demo: five services on an embedded broker, orders flowing, and an account of every one of them at the end.

`main` puts the parts together and takes them apart again; what is shown is `screen` and `feed`, what must add up is
`summary`. `choreo demo` calls it.
"""

from .program import main as main

__all__ = ["main"]
