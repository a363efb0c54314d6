"""Placing orders: the purchases of the CSV as a stream of orders, at a chosen rate.

Pace, and which starts are published twice, live here; what an order holds does not (`purchases`). The demo calls
`place` in a thread; from a shell it is `python -m services.order.place --rate 20`.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from pydantic import ValidationError

from choreo import ChoreoError, Publisher

from ..events import OrderPlaced
from .purchases import orders_from, read_purchases
from .service import orders

TICK_S = 0.05
BATCH_MAX = 500
TWICE_EVERY = 50
UNHURRIED_RATE = 20.0


def placed_twice(order_id: str) -> bool:
    """Whether the start of this order is published twice, as a customer who clicks twice would: one in fifty."""
    return int(order_id.partition("-")[0]) % TWICE_EVERY == 0


def place(
    publisher: Publisher,
    source: Iterator[OrderPlaced],
    rate: float,
    stop: threading.Event,
    placed: Callable[[Sequence[OrderPlaced]], None],
) -> None:
    """Publish orders until there are none or `stop` is set.

    Args:
        publisher: An open publisher of the order service.
        source: The orders, each once.
        rate: Orders a second; 0 for as many as the brokers take. Time lost to slow brokers isn't made up for.
        stop: Ends placing, within a tick.
        placed: Called with orders that the brokers have, in order.

    Raises:
        ChoreoError: If the brokers refuse orders or can't be reached; `placed` has named those that are safe.
    """
    again: list[OrderPlaced] = []
    paid_until = time.monotonic()
    while not stop.is_set():
        now = time.monotonic()
        if rate:
            paid_until = max(paid_until, now - 1.0 - 1 / rate)
            due = min(int((now - paid_until) * rate), BATCH_MAX)
            paid_until += due / rate
        else:
            due = BATCH_MAX
        batch = list(islice(source, due))
        if due and not batch:
            break
        if batch:
            publisher.publish_many([*batch, *again])
            again = [order for order in batch if placed_twice(order.order_id)]
            placed(batch)
        if rate:
            stop.wait(TICK_S)
    if again:
        publisher.publish_many(again)


def main(arguments: Sequence[str] | None = None) -> int:
    """Place orders until told to stop; where the brokers are comes from the environment, as for every service.

    Returns:
        The exit code: 0, or 1 where the brokers couldn't be reached.
    """
    parser = argparse.ArgumentParser(prog="python -m services.order.place", description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=UNHURRIED_RATE, help="orders a second; 0: as fast as it goes")
    parser.add_argument("--limit", type=int, help="how many orders; without end unless given")
    parser.add_argument("--seconds", type=float, help="how long; without end unless given")
    parser.add_argument("--repeat", type=int, default=1, help="the repetition of the file to begin with, from 1")
    chosen = parser.parse_args(arguments)
    count = 0
    stop = threading.Event()

    def placed(batch: Sequence[OrderPlaced]) -> None:
        nonlocal count
        count += len(batch)

    timer = threading.Timer(chosen.seconds, stop.set) if chosen.seconds is not None else None
    try:
        source = islice(orders_from(read_purchases(), chosen.repeat), chosen.limit)
        with Publisher(orders) as publisher:
            if timer is not None:
                timer.start()
            place(publisher, source, chosen.rate, stop, placed)
    except KeyboardInterrupt:
        pass
    except (ChoreoError, ValidationError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if timer is not None:
            timer.cancel()
        print(f"{count} orders placed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
