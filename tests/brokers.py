"""A real Apache Kafka for tests: brokers that start in under a second, and can be killed.

The search for one (an address in the environment, Docker, Java with Maven) and the brokers started from Kafka's jars live here.
The session's fixtures use the search; chaos and benchmarks start brokers of their own.
"""

import contextlib
import ctypes
import functools
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from filelock import FileLock

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".kafka"
KAFKA_VERSION = "4.3.1"
CLUSTER_ID = "choreo-test-cluster-000"
JAVA_MIN = 17
START_TIMEOUT_S = 60.0
PORTS = range(12_000, 32_000)
"""Below what Linux, macOS and Windows give to outgoing connections."""
PR_SET_PDEATHSIG = 1
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>test</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""
FAST = {
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 500,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 1,
    "auto.create.topics.enable": "false",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
    "log.retention.hours": 1,
    "broker.session.timeout.ms": 1500,
    "broker.heartbeat.interval.ms": 300,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "log.flush.interval.messages": 9223372036854775807,
    "controlled.shutdown.enable": "true",
}


class NoKafka(Exception):
    """This machine has neither Java with Maven nor anything else to run a Kafka with."""


def without_kafka(told: str) -> NoReturn:
    """Skip what needs a real Kafka, and say so loudly; where everything must be proved (`CI=true`), fail instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)


def free_port() -> int:
    """Return a port that nobody listens on, and that no connection is given; see `free_ports`."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens on, and that no connection is given.

    The system gives outgoing connections ports of its own choice. A broker that is away would lose such a port to any of
    them, even to a client that tries to reach it and so reaches itself.

    Raises:
        NoKafka: If there are not so many.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise NoKafka(f"of {PORTS} no {count} are free")


def java() -> str | None:
    """Return a Java of at least 17, or None."""
    for candidate in (os.environ.get("JAVA_HOME", "") + "/bin/java", shutil.which("java") or ""):
        if candidate and Path(candidate).exists():
            told = subprocess.run([candidate, "-version"], capture_output=True, text=True, check=False).stderr
            number = told.partition('"')[2].partition('"')[0].partition(".")[0]
            if number.isdigit() and int(number) >= JAVA_MIN:
                return candidate
    return None


@functools.cache
def jars() -> Path:
    """Return a folder with Kafka's jars, fetched by Maven once.

    Raises:
        NoKafka: If there is no Java, or Maven is missing or fetches nothing.
    """
    if java() is None:
        raise NoKafka(f"no Java {JAVA_MIN} or later: apt-get install openjdk-17-jre-headless maven, or start Docker")
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"jars-{KAFKA_VERSION}"
    with FileLock(CACHE / "jars.lock"):
        if (folder / ".whole").exists():
            return folder
        if shutil.which("mvn") is None:
            raise NoKafka("no Maven to fetch Kafka with: apt-get install maven, or start Docker")
        pom = CACHE / "pom.xml"
        pom.write_text(POM)
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        command = ["mvn", "-q", "-B", "-f", str(pom), goal, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoKafka(f"Maven could not fetch Kafka: {done.stdout[-400:]}")
        (folder / ".whole").touch()
    return folder


def _java_command(*, fast_start: bool) -> list[str]:
    binary = java()
    assert binary is not None
    tiers = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] if fast_start else ["-XX:+UseSerialGC"]
    logging = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    return [binary, "-Xmx512m", *tiers, *logging]


def _archive() -> list[str]:
    """Return the flags for the class-data archive, made on first use: it takes most of the start away."""
    archive = CACHE / f"kafka-{KAFKA_VERSION}.jsa"
    return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"] * (
        archive.exists()
    )


def _classpath() -> list[str]:
    return ["-cp", ":".join(str(each) for each in sorted(jars().glob("*.jar")))]


class KafkaProcess:
    """One broker, in a process of its own; it dies with us.

    Args:
        number: Its node id.
        port: Where clients reach it; the same after a restart.
        folder: Its data, kept over restarts.
        voters: `controller.quorum.voters` of the cluster.
        replication: Copies of the internal topics.
        fast_start: Start fast (C1 only) rather than run fast.
        told: The port that clients are told instead: a proxy's.
    """

    def __init__(
        self,
        number: int,
        port: int,
        controller: int,
        folder: Path,
        voters: str,
        replication: int,
        *,
        fast_start: bool,
        told: int | None = None,
    ) -> None:
        self.port = port
        self._fast_start = fast_start
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        settings = {
            **FAST,
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{told or port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": folder / "data",
            "offsets.topic.replication.factor": replication,
            "transaction.state.log.replication.factor": replication,
            "transaction.state.log.min.isr": max(1, replication - 1),
            "min.insync.replicas": max(1, replication - 1),
            "default.replication.factor": replication,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._properties = folder / "server.properties"
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._format(number, voters)

    def _format(self, number: int, voters: str) -> None:
        """Format the data folder, from a template where one of this shape was made before: that takes no JVM."""
        nodes = voters.count("@")
        template = CACHE / f"formatted-{KAFKA_VERSION}-{nodes}-{number}"
        with FileLock(CACHE / f"{template.name}.lock"):
            if not template.exists():
                tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)]
                command = [*_java_command(fast_start=True), *_classpath(), *tool]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise NoKafka(f"Kafka's storage could not be formatted: {done.stdout[-300:]}{done.stderr[-300:]}")
                shutil.copytree(self._folder / "data", template)
                return
        shutil.copytree(template, self._folder / "data")

    def start(self) -> None:
        """Start, or start again, without waiting; from a thread that lasts, since the broker dies with it."""
        archive = CACHE / f"kafka-{KAFKA_VERSION}.jsa"
        shared = _archive()
        making = archive.with_suffix(f".{os.getpid()}")
        if not shared:
            shared = [f"-XX:ArchiveClassesAtExit={making}"]
        log = (self._folder / "broker.log").open("ab")
        self._process = subprocess.Popen(
            [*_java_command(fast_start=self._fast_start), *shared, *_classpath(), "kafka.Kafka", str(self._properties)],
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        log.close()
        self._making = making if making.name in " ".join(shared) else None

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait; what the JVM archived on its way out is kept for the next start."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._making is not None and self._making.exists():
            self._making.replace(CACHE / f"kafka-{KAFKA_VERSION}.jsa")


class KafkaCluster:
    """Brokers of one cluster.

    Args:
        brokers: 1 or 3.
        fast_start: Start fast rather than run fast; False for benchmarks.
        told: Ports that clients are told instead of the brokers' own: proxies'.
    """

    def __init__(self, brokers: int = 1, *, fast_start: bool = True, told: Sequence[int] = ()) -> None:
        jars()
        self.folder = Path(tempfile.mkdtemp(prefix="choreo-kafka-"))
        ports = free_ports(2 * brokers)
        # The formatted folder holds no port, for the quorum is static: only its node ids.
        voters = ",".join(f"{n + 1}@127.0.0.1:{ports[brokers + n]}" for n in range(brokers))
        self.brokers = [
            KafkaProcess(
                n + 1,
                ports[n],
                ports[brokers + n],
                self.folder / str(n + 1),
                voters,
                brokers,
                fast_start=fast_start,
                told=told[n] if told else None,
            )
            for n in range(brokers)
        ]
        self.bootstrap_servers = ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def start(self) -> "KafkaCluster":
        """Start all and wait until they answer.

        Raises:
            NoKafka: If they do not answer in time.
        """
        for broker in self.brokers:
            broker.start()
        wait_for(self.bootstrap_servers, len(self.brokers))
        return self

    def stop(self) -> None:
        """Stop all and remove their data."""
        if len(self.brokers) > 1:
            # The last to leave in good order would wait for a quorum that has gone.
            for broker in self.brokers:
                broker.kill()
        for broker in self.brokers:
            broker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "KafkaCluster":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


def wait_for(bootstrap_servers: str, brokers: int = 1) -> None:
    """Wait until a cluster names a controller and this many brokers: one of those named here has to say so itself."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "reconnect.backoff.max.ms": 200, "logger": _quiet()})
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            # Not `describe_cluster`: where its answer is broken off, the client ends the process (an assertion).
            found = admin.list_topics(timeout=3)
        except KafkaException:
            continue
        if found.controller_id >= 0 and len(found.brokers) >= brokers:
            return
    raise NoKafka(f"Kafka at {bootstrap_servers} does not answer")


def wait_in_sync(bootstrap_servers: str) -> None:
    """Wait until every partition has all of its replicas in sync, as after a rolling restart."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "reconnect.backoff.max.ms": 200, "logger": _quiet()})
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            topics = admin.list_topics(timeout=5).topics.values()
        except KafkaException:
            continue
        if all(len(each.isrs) == len(each.replicas) for topic in topics for each in topic.partitions.values()):
            return
    raise NoKafka(f"the replicas at {bootstrap_servers} do not come in sync")


def _quiet() -> logging.Logger:
    logger = logging.getLogger("tests.kafka.client")
    logger.setLevel(logging.CRITICAL + 1)
    return logger


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
