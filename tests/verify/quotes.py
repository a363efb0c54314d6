"""Quotes from several sellers, some of whom never answer: a deadline in every branch."""

from datetime import timedelta

from choreo import Event, Saga, Service


class QuotesAsked(Event, topic="quotes"):
    key: str = "1"


class QuoteAsked(Event, topic="quotes"):
    pass


class QuoteMissed(Event, topic="quotes"):
    pass


class QuotesGathered(Event, topic="quotes"):
    pass


class Quoted(Event, topic="sellers"):
    pass


quotes, sellers = Service("quotes"), Service("sellers")
quotes.owns(Saga("quotes", starts=QuotesAsked, completes=QuotesGathered, key="key"))


@quotes.handles
def ask(_asked: QuotesAsked) -> list[QuoteAsked]:
    return [QuoteAsked()]


@quotes.deadline(Quoted, within=timedelta(hours=1))
def miss(_asked: QuoteAsked) -> QuoteMissed:
    return QuoteMissed()


@quotes.handles
def gather(_answers: list[Quoted | QuoteMissed]) -> QuotesGathered:
    return QuotesGathered()


@sellers.handles
def quote(_asked: QuoteAsked) -> Quoted | None:
    return Quoted()


QUOTES = (quotes, sellers)
