"""Does every event find a handler, and every handler its events?

Events without a handler, and handlers whose events no service emits, are found here; what comes too late, or only
sometimes, is not (`waits`). What a service could emit that is not among those given is a warning.
"""

from collections.abc import Collection, Iterator
from difflib import get_close_matches

from choreo.checks.phrases import any_of
from choreo.checks.saga_flow import SagaFlow
from choreo.choreography import Choreography, Names, Node
from choreo.errors import Problem
from choreo.event import short

CLOSE = 0.85
"""How near two names are, from 0 to 1, of which one may be a slip: a letter or two in ten."""
GUESSES_MAX = 20
"""Missing events whose names are compared with all others: that takes long, and of so many each is hardly a slip."""


def check_reachability(graph: Choreography, flows: Collection[SagaFlow]) -> Iterator[Problem]:
    """Yield what does not reach its other end, of flows to which all is granted that is missing."""
    yield from _unemitted(graph)
    yield from _misnamed(graph)
    yield from _unheard(graph)
    yield from _unhandled(graph, flows)
    yield from _unreached(graph, flows)


def _unemitted(graph: Choreography) -> Iterator[Problem]:
    """Yield handlers that wait for what nobody brings, or look out for it."""
    guesses: dict[str, str] = {}
    for step in graph.nodes:
        wanted = step.wants
        for name in sorted(wanted.union(step.handler.awaits, step.handler.unless) - graph.brought):
            if name not in guesses:
                near = _near(name, graph.brought) if len(guesses) < GUESSES_MAX else ""
                here = "Let a handler emit it, or wait for something else."
                otherwise = "Check it together with the service that emits it." if name in graph.absent else here
                guesses[name] = f"Did you mean {near}?" if near else otherwise
            does = "handles" if name in wanted else "looks out for"
            message = f"{step.name} {does} {short(name)}, which nobody emits"
            yield Problem("CH070", message, step.handler.place, guesses[name])


def _misnamed(graph: Choreography) -> Iterator[Problem]:
    """Yield events that nobody handles while one of nearly that name is awaited in vain: a slip, most likely."""
    for step in graph.nodes:
        for name in dict.fromkeys(step.handler.emits):
            if near := _slip(graph, name):
                message = f"{step.name} returns {short(name)}, which nobody handles."
                yield Problem("CH012", message, step.handler.place, f"Did you mean {near}?")


def _unheard(graph: Choreography) -> Iterator[Problem]:
    """Yield events that are published from outside for nobody."""
    for name in sorted(graph.published - graph.taken):
        for service in graph.publishers(name):
            message = f"{service} publishes {short(name)}, which nobody handles"
            fix = "Check it together with the service that handles it."
            yield Problem("CH071", message, graph.place(service), fix)


def _unhandled(graph: Choreography, flows: Collection[SagaFlow]) -> Iterator[Problem]:
    """Yield events that nobody handles, though others of their step are handled: a way that somebody forgot.

    A step all of whose events are for nobody is a last one; what undoes something need not be followed by anything.
    """
    handled = graph.taken.union(*(flow.completes | flow.fails for flow in flows))
    # Whoever handles it may be where what is absent comes from.
    for step in () if graph.absent else graph.nodes:
        # A failure that nothing takes is worse, and reported by `completion`.
        facts = [name for name in dict.fromkeys(step.handler.emits) if name not in graph.failing]
        left = [name for name in facts if name not in handled and not _slip(graph, name)]
        others = [name for name in facts if name in handled]
        if left and others and step.kind != "compensation":
            message = f"{step.name} emits {any_of(left)}, which nobody handles"
            fix = f"Write the handler, or name it where {any_of(others)} is taken, or leave it out."
            yield Problem("CH111", message, step.handler.place, fix)


def _unreached(graph: Choreography, flows: Collection[SagaFlow]) -> Iterator[Problem]:
    """Yield handlers that no saga comes to, though somebody brings all that they wait for."""
    reached = {step.name for flow in flows for step in flow.steps}
    come = frozenset().union(*(flow.events for flow in flows))
    for step in graph.nodes if flows else ():
        if step.name in reached:
            continue
        never = next((types for types in step.needs if come.isdisjoint(types)), None)
        if never is None:
            message = f"{step.name} is never reached: no saga has all that it waits for"
            yield Problem("CH110", message, step.handler.place, "Take events of one saga type.")
        elif _behind_itself(graph, step, come):
            message = f"{step.name} is never reached: {any_of(never)} comes only once it has run"
            yield Problem("CH110", message, step.handler.place, "Take what a start leads to without it.")


def _behind_itself(graph: Choreography, step: Node, come: Names) -> bool:
    """Return whether a step waits for itself; else it waits for one that does, and that one is reported."""
    ahead, met = [step], {step.name}
    while ahead:
        for types in ahead.pop().needs:
            if come.isdisjoint(types):
                found = [each for name in types for each in graph.producers(name)]
                if any(each.name == step.name for each in found):
                    return True
                ahead += [each for each in found if each.name not in met]
                met.update(each.name for each in found)
    return False


def _slip(graph: Choreography, name: str) -> str:
    """Return what is awaited in vain and has nearly the name of an event that nobody handles."""
    return _near(name, graph.missing) if graph.missing and name not in graph.read else ""


def _near(name: str, known: Collection[str]) -> str:
    """Return the event of nearly this name, if there is one."""
    close = get_close_matches(short(name), map(short, sorted(known)), 1, CLOSE)
    return close[0] if close else ""
