"""How long `choreo` takes to be there: from exec to assigned, and to its help."""

import http.client
import os
import statistics
import subprocess
import sys
import time
import uuid

from bench.events import reserve
from bench.load import PARTITIONS
from choreo import Service, Settings
from choreo.kafka import KafkaTransport
from choreo.service import declarations
from choreo.topics import apply_topics
from tests.brokers import free_port

CLI = [sys.executable, "-m", "choreo"]
READY_TIMEOUT_S = 60.0


def run_to_ready(bootstrap: str) -> float:
    """Return seconds from the exec of `choreo run` until it owns partitions, on topics that exist and are empty."""
    name = f"bench-startup-{uuid.uuid4().hex[:8]}"
    service = Service(name)
    service.handles(reserve)
    transport = KafkaTransport({"bootstrap.servers": bootstrap})
    apply_topics(declarations(service), transport, Settings(partitions=PARTITIONS))
    transport.close()
    port = free_port()
    command = [*CLI, "run", "bench.target", "--health", f"127.0.0.1:{port}", "--bootstrap-server", bootstrap]
    begin = time.perf_counter()
    with subprocess.Popen(command, env=os.environ | {"BENCH_SERVICE": name}, stderr=subprocess.PIPE) as process:
        try:
            while not _ready(port):
                if process.poll() is not None or time.perf_counter() - begin > READY_TIMEOUT_S:
                    process.kill()
                    told = process.stderr.read().decode() if process.stderr else ""
                    raise RuntimeError(f"choreo run was not ready: {told}")
                time.sleep(0.01)
            return time.perf_counter() - begin
        finally:
            process.terminate()


def helped(times: int = 10) -> float:
    """Return the median of seconds that `choreo --help` takes."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        subprocess.run([*CLI, "--help"], stdout=subprocess.DEVNULL, check=True)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
