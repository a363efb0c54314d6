"""`choreo track`: the tracker's follower, running until SIGTERM.

Arguments and signals live here; reading the topics into the store is the tracker's. `choreo sagas` reads what it
writes.
"""

import logging
import signal
import threading
from contextlib import closing

import click

from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.output import json_option, log_to_stderr
from choreo.cli.tracker_store import file_of
from choreo.tracker import Follower, Store

_log = logging.getLogger("choreo")


@click.command()
@click.option("--store", metavar="URL", help="Where to keep what is read; sqlite:///tracker.db unless set.")
@broker_options
@json_option
def track(store: str | None, brokers: Brokers, as_json: bool) -> None:
    """Follow the topics into a store until SIGTERM or Ctrl-C. It writes nothing but the store.

    --json writes the log as JSON lines.
    """
    settings = brokers.settings(store=store)
    log_to_stderr(settings.log_level, as_json=as_json)
    path = file_of(settings.store)

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with closing(connect(settings)) as transport:
        # Asked once before following, so that wrong addresses and passwords are reported instead of tried for ever.
        transport.describe([])
        with closing(Store(path)) as opened:
            _log.info("tracking %s into %s", settings.bootstrap_servers, path)
            Follower(opened, transport).run(stop)
