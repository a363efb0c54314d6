"""DOT: statements that its grammar has, quoted so that every name stays a name."""

import re
import shutil
import subprocess

import pytest

from choreo.choreography import Choreography
from choreo.diagram import Picture, dot
from tests.diagram.scenes import HOSTILE, everything, example, hostile, invented, scenes

SCENES = {**dict(scenes()), **{f"invented {seed}": invented(seed) for seed in range(10)}}
TOKEN = re.compile(r'\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<mark>->|[{}\[\];=,])|(?P<word>[A-Za-z]\w*|\d+))')
Attributes = dict[str, str]


def tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match, text[at : at + 60]
        found.append(match[0].strip())
        at = match.end()
    return found


class Graph:
    """What Graphviz understands, as far as choreo writes it; anything else fails the test."""

    def __init__(self, text: str) -> None:
        self.nodes: dict[str, Attributes] = {}
        self.edges: list[tuple[tuple[str, str], Attributes]] = []
        self.clusters: dict[str, list[str]] = {}
        self._rest = tokens(text)
        assert [self._rest.pop(0) for _ in range(3)] == ["digraph", "choreography", "{"]
        self._statements(None)
        assert self._rest == []

    def _statements(self, cluster: list[str] | None) -> None:
        while (token := self._rest.pop(0)) != "}":
            if token == "subgraph":
                name = name_of(self._rest.pop(0))
                assert name.startswith("cluster")
                assert self._rest.pop(0) == "{"
                self._statements(self.clusters.setdefault(name.removeprefix("cluster "), []))
            elif self._rest[0] == "=":
                del self._rest[:2]
                assert self._rest.pop(0) == ";"
            elif self._rest[0] == "->":
                self._rest.pop(0)
                edge = (name_of(token), name_of(self._rest.pop(0)))
                self.edges.append((edge, self._attributes()))
            elif token in {"node", "edge"}:
                self._attributes()
            else:
                self.nodes[name_of(token)] = self._attributes()
                if cluster is not None:
                    cluster.append(self.nodes[name_of(token)]["label"])

    def _attributes(self) -> Attributes:
        found = {}
        assert self._rest.pop(0) == "["
        while self._rest[0] != "]":
            name, equals, value = (self._rest.pop(0) for _ in range(3))
            assert equals == "="
            found[name] = label_of(value) if value.startswith('"') else value
            if self._rest[0] == ",":
                self._rest.pop(0)
        assert [self._rest.pop(0), self._rest.pop(0)] == ["]", ";"]
        return found


def name_of(quoted: str) -> str:
    """Read a quoted string: only quotes are escaped in it."""
    assert quoted[0] == quoted[-1] == '"'
    return quoted[1:-1].replace('\\"', '"')


def label_of(quoted: str) -> str:
    """Read a label: what is left of a quoted string is read once more."""
    return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], name_of(quoted))


@pytest.mark.parametrize("name", SCENES)
def test_it_is_dot_and_every_arrow_goes_from_node_to_node(name: str):
    choreography = Choreography(SCENES[name])
    graph, picture = Graph(dot(choreography)), Picture(choreography)
    assert len(graph.nodes) == len(picture.steps) + len(picture.events)
    assert len(graph.edges) == len(picture.arrows)
    assert {end for edge, _ in graph.edges for end in edge} <= set(graph.nodes)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed: its own parser does not judge here")
@pytest.mark.parametrize("name", SCENES)
def test_graphviz_reads_it_without_a_word(name: str):
    done = subprocess.run(
        ["dot", "-Tcanon"], input=dot(Choreography(SCENES[name])), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_cluster_has_the_steps_of_its_service_and_the_events_that_come_from_there():
    assert Graph(dot(example("order"))).clusters["payments"] == [
        "PaymentCaptured",
        "PaymentDeclined",
        "PaymentRefunded",
        "capture\njoins 2",
        "↶ refund",
    ]


def test_kinds_are_told_apart():
    graph = Graph(dot(Choreography(everything())))
    assert graph.nodes["step shop.overdue"]["shape"] == "octagon"
    assert graph.nodes["step pay.refund"]["style"] == "dashed"
    assert graph.nodes["step pay.give_up"]["style"] == "dotted"
    assert graph.nodes["event shop.Confirmed"]["peripheries"] == "2"
    assert graph.nodes["event shop.TimedOut"]["style"] == "dashed"
    assert graph.nodes["event shop.Placed"]["label"] == "Placed\nstarts order"


def test_failures_are_dashed_and_undoing_points_back():
    edges = dict(Graph(dot(example("order"))).edges)
    assert edges["event orders.OrderPlaced", "step payments.capture"] == {}
    assert edges["step payments.capture", "event payments.PaymentDeclined"] == {"color": "#cf2f37", "style": "dashed"}
    assert edges["event payments.PaymentCaptured", "step payments.refund"] == {
        "label": "undoes",
        "color": "#946000",
        "style": "dashed",
        "dir": "back",
    }


def test_what_stops_a_step_ends_in_a_bar_at_that_step():
    edge = dict(Graph(dot(Choreography(everything()))).edges)["step shop.overdue", "event shop.Confirmed"]
    assert (edge["dir"], edge["arrowtail"], edge["label"]) == ("back", "tee", "stops")


def test_names_are_shown_as_they_are_and_never_obeyed():
    graph = Graph(dot(Choreography(hostile())))
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert {node["label"] for node in graph.nodes.values()} == {
        f"{shown}\nby {shown}\nstarts {shown}\ncompletes {shown}",
        f"{shown}0",
        f"{shown}1",
    }
