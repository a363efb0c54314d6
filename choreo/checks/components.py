"""Strongly connected components: what leads to itself in a graph, and an order of all the rest.

The algorithm lives here; what the nodes are does not (`saga_flow`, `cycles`).
"""

from collections.abc import Iterable, Iterator, Mapping


def components(onward: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Yield the nodes of a graph, together where they lead to each other, and behind all that they lead to.

    This is Tarjan's algorithm for strongly connected components, without recursion.

    Args:
        onward: For each node the nodes that it leads to.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    waiting: set[str] = set()
    for root in onward:
        if root in index:
            continue
        path = [(root, iter(onward[root]))]
        while path:
            name, following = path[-1]
            if name not in index:
                index[name] = low[name] = len(index)
                stack.append(name)
                waiting.add(name)
            step = next((each for each in following if each in onward and (each not in index or each in waiting)), None)
            if step is not None and step not in index:
                path.append((step, iter(onward[step])))
            elif step is not None:
                low[name] = min(low[name], index[step])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[name])
                if low[name] == index[name]:
                    component = stack[stack.index(name) :]
                    del stack[-len(component) :]
                    waiting.difference_update(component)
                    yield component
