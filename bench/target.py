"""The service that `choreo run` is timed with; each start has a name of its own, so that it has the group to itself."""

import os

from bench.events import reserve
from choreo import Service

service = Service(os.environ.get("BENCH_SERVICE", "bench-startup"))
service.handles(reserve)
