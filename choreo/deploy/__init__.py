"""What a deploy would do to a system that runs.

New versions of services are compared here with those that run and with the sagas that are under way; asking brokers
and trackers for these is the caller's. `choreo check --against` calls what is named here. Nothing here does I/O.
"""

from choreo.deploy.stranded_sagas import CODES, stranding

__all__ = ["CODES", "stranding"]
