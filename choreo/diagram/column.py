"""How far from a start each step is.

The columns of a picture live here: a step stands right of all that it takes, and a compensation beside the step that
it undoes, so that undoing runs from right to left. Where that leaves a step in its row does not (`grid`). Pure.
"""

from collections.abc import Mapping

from choreo.choreography import Choreography, Node


def columns(choreography: Choreography) -> Mapping[str, int]:
    """Return the column of each step, by `service.handler`, from 0.

    The longest way from a start decides, so a join stands right of all its events. Where events go round in a circle,
    the step that they come back to stays left.
    """
    beside = {step.name: _host(step, choreography) for step in choreography.nodes}
    # What stands in for a compensation stands where that does, so two steps lead to a host, and never more.
    hosts = {name: beside.get(host, name) for name, host in beside.items()}
    leads = _leads(choreography, hosts)
    for circling in _circles(leads):
        leads[circling[0]].discard(circling[1])
    found = dict.fromkeys(leads, 0)
    for name in _in_order(leads):
        for following in leads[name]:
            found[following] = max(found[following], found[name] + 1)
    return {step.name: found[hosts[step.name]] for step in choreography.nodes}


def _host(step: Node, choreography: Choreography) -> str:
    """Return the step beside which a step stands: the one that it undoes or stands in for, else itself."""
    if step.handler.kind == "compensation":
        undone = (each for name in step.handler.original for each in choreography.producers(name))
        beside = sorted(each.name for each in undone if each.handler.kind not in {"compensation", "otherwise"})
    else:
        beside = [f"{step.service}.{step.handler.guards}"] if step.handler.guards else []
    return beside[0] if beside else step.name


def _leads(choreography: Choreography, hosts: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which steps stand right of which; only steps that stand beside no other are named."""
    leads: dict[str, set[str]] = {name: set() for name in hosts.values()}
    for step in choreography.nodes:
        if hosts[step.name] != step.name:
            continue
        for name in step.takes - frozenset(step.handler.original):
            for producer in choreography.producers(name):
                if hosts[producer.name] != step.name:
                    leads[hosts[producer.name]].add(step.name)
    return leads


def _circles(leads: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return the links that close a circle, walking from what nothing leads to."""
    entered = frozenset().union(*leads.values())
    closing: list[tuple[str, str]] = []
    done: set[str] = set()
    for first in sorted(leads, key=lambda name: (name in entered, name)):
        if first in done:
            continue
        path, open_names = [(first, iter(sorted(leads[first])))], {first}
        while path:
            name, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                open_names.discard(name)
                done.add(name)
            elif following in open_names:
                closing.append((name, following))
            elif following not in done:
                path.append((following, iter(sorted(leads[following]))))
                open_names.add(following)
    return closing


def _in_order(leads: Mapping[str, set[str]]) -> list[str]:
    """Return the names so that each comes after all that lead to it."""
    waits = dict.fromkeys(leads, 0)
    for targets in leads.values():
        for each in targets:
            waits[each] += 1
    ready = sorted(name for name, count in waits.items() if count == 0)
    for name in ready:
        for following in sorted(leads[name]):
            waits[following] -= 1
            if waits[following] == 0:
                ready.append(following)
    return ready
