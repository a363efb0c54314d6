"""Figures as a Markdown table, and that table in docs/benchmarks.md."""

import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import libversion

from tests.brokers import KAFKA_VERSION

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


class Figure(NamedTuple):
    """One line of the table.

    Attributes:
        what: What was measured.
        found: What came out.
        bar: What it is held to.
        met: Whether it holds; None where no bar is set.
    """

    what: str
    found: str
    bar: str
    met: bool | None


def table(figures: Iterable[Figure]) -> str:
    """Return the figures beside their bars."""
    said = {True: "yes", False: "no", None: ""}
    rows = [f"| {each.what} | {each.found} | {each.bar} | {said[each.met]} |" for each in figures]
    return "\n".join(["| measured | figure | bar | met |", "|---|---|---|---|", *rows])


def facts(*, runs: int) -> str:
    """Return what the figures were measured with, without a word about whose machine it was."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} cores shared by broker, load and service; Python {platform.python_version()}; one Apache Kafka "
        f"{KAFKA_VERSION}; confluent-kafka {version('confluent-kafka')} (librdkafka {libversion()[0]}); pydantic "
        f"{version('pydantic')}; fastavro {version('fastavro')}; medians of {runs} alternating runs."
    )


def write(name: str, text: str) -> None:
    """Put text between the page's markers of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = PAGE.read_text(encoding="utf-8")
    found = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise ValueError(f"{PAGE.name} has no {begin} … {end}")
    PAGE.write_text(found.sub(lambda _: f"{begin}\n{text}\n{end}", page), encoding="utf-8")
