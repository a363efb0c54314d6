"""Mermaid: every line is one that its grammar has, and every name stays a name."""

import re

import pytest

from choreo.choreography import Choreography
from choreo.diagram import Picture, mermaid
from tests.diagram.scenes import HOSTILE, everything, example, hostile, invented, scenes

SCENES = {**dict(scenes()), **{f"invented {seed}": invented(seed) for seed in range(10)}}
# Of the tokens of Mermaid's flow grammar, those that are used: ids, shapes with a quoted label, links, notes.
ID = r"[A-Za-z0-9._$]+"
LABEL = r'"(?P<label>(?:[^"#<>`]|#\d+;|<br/>)*)"'
NODE = re.compile(rf"(?P<id>{ID})(?P<open>\(\[|\[/|\{{\{{|\[){LABEL}(?P<close>\]\)|/\]|\}}\}}|\]):::(?P<look>\w+)")
LINK = re.compile(rf"(?P<source>{ID}) (?P<link>-->|-\.->|-\.-x)(?:\|(?P<note>[a-z ]+)\|)? (?P<target>{ID})")
LANE = re.compile(rf"subgraph (?P<id>{ID})\[{LABEL}\]")
CLASS = re.compile(r"classDef (?P<name>\w+) (?:[a-z-]+:[#\w ]+,?)+")
STYLE = re.compile(r"linkStyle (?P<numbers>[\d,]+) stroke:(?P<colour>#[0-9a-f]{6})")
SHAPES = {"([": "])", "[/": "/]", "{{": "}}", "[": "]"}


class Chart:
    """What a reader of Mermaid understands; a line that is none fails the test."""

    def __init__(self, text: str) -> None:
        first, *lines = text.splitlines()
        assert first == "flowchart LR"
        self.nodes: dict[str, re.Match[str]] = {}
        self.lanes: dict[str, list[str]] = {}
        self.links: list[re.Match[str]] = []
        self.classes: set[str] = set()
        self.colours: dict[int, str] = {}
        inside: list[str] | None = None
        for line in lines:
            inside = self.take(line.strip(), inside)
        assert inside is None

    def take(self, line: str, inside: list[str] | None) -> list[str] | None:
        if lane := LANE.fullmatch(line):
            assert inside is None
            return self.lanes.setdefault(label(lane), [])
        if line == "end":
            assert inside is not None
            return None
        if node := NODE.fullmatch(line):
            assert SHAPES[node["open"]] == node["close"]
            assert node["id"] not in self.nodes
            self.nodes[node["id"]] = node
            if inside is not None:
                inside.append(label(node))
        elif link := LINK.fullmatch(line):
            self.links.append(link)
        elif style := STYLE.fullmatch(line):
            self.colours |= {int(number): style["colour"] for number in style["numbers"].split(",")}
        else:
            defined = CLASS.fullmatch(line)
            assert defined, line
            self.classes.add(defined["name"])
        return inside


def label(match: re.Match[str]) -> str:
    text = match["label"].replace("<br/>", "\n")
    return re.sub(r"#(\d+);", lambda code: chr(int(code[1])), text)


@pytest.mark.parametrize("name", SCENES)
def test_every_line_is_mermaid_and_every_arrow_goes_from_node_to_node(name: str):
    choreography = Choreography(SCENES[name])
    chart, picture = Chart(mermaid(choreography)), Picture(choreography)
    assert len(chart.nodes) == len(picture.steps) + len(picture.events)
    assert {node["look"] for node in chart.nodes.values()} <= chart.classes
    assert len(chart.links) == len(picture.arrows)
    assert {end for link in chart.links for end in (link["source"], link["target"])} <= set(chart.nodes)
    assert set(chart.colours) <= set(range(len(chart.links)))


def test_a_lane_has_the_steps_of_its_service_and_the_events_that_come_from_there():
    assert Chart(mermaid(example("order"))).lanes["payments"] == [
        "PaymentCaptured",
        "PaymentDeclined",
        "PaymentRefunded",
        "capture\njoins 2",
        "↶ refund",
    ]
    assert Chart(mermaid(Choreography(everything()))).lanes["pay"][-4:] == [
        "capture\njoins 3",
        "give_up\nwhen capture gives up",
        "↶ discharge",
        "↶ refund",
    ]


def test_what_an_event_is_to_a_saga_stands_on_it():
    nodes = {label(node): node["look"] for node in Chart(mermaid(example("approval"))).nodes.values()}
    assert nodes["ApprovalRequested\nstarts approval"] == "start"
    assert nodes["RequestGranted\ncompletes approval"] == "completes"
    assert nodes["RequestDenied\nfails approval"] == "fails"
    assert nodes["ManagerApproved\nby a manager"] == "fact"
    assert nodes["⏱ escalate\nafter 3 d"] == "deadline"


def test_failures_and_undoing_are_dashed_and_coloured():
    chart = Chart(mermaid(example("order")))
    found = {
        (link["source"], link["target"]): (link["link"], link["note"], chart.colours.get(number))
        for number, link in enumerate(chart.links)
    }
    capture, refund = "step.payments.capture", "step.payments.refund"
    assert found["event.orders.OrderPlaced", capture] == ("-->", None, None)
    assert found[capture, "event.payments.PaymentDeclined"] == ("-.->", None, "#d9363e")
    assert found["event.shipping.ShipmentFailed", refund] == ("-.->", None, "#d9363e")
    assert found[refund, "event.payments.PaymentCaptured"] == ("-.->", "undoes", "#c98500")
    assert found[refund, "event.payments.PaymentRefunded"] == ("-.->", None, "#c98500")


def test_what_stops_a_step_ends_in_a_cross():
    links = {(link["source"], link["target"]): link for link in Chart(mermaid(Choreography(everything()))).links}
    assert links["event.shop.Confirmed", "step.shop.overdue"]["link"] == "-.-x"


def test_names_are_shown_as_they_are_and_never_obeyed():
    chart = Chart(mermaid(Choreography(hostile())))
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert list(chart.lanes) == [shown]
    assert f"{shown}\nby {shown}\nstarts {shown}\ncompletes {shown}" in {label(node) for node in chart.nodes.values()}
    assert {node["look"] for node in chart.nodes.values()} == {"start", "forward"}


def test_a_pipe_in_a_name_is_no_pipe_and_two_names_are_two_nodes():
    text = everything()[1].model_dump_json()
    twins = [text.replace("stock", name) for name in ("a-b", "a_b", "a.b")]
    chart = Chart(mermaid(Choreography([everything()[1].model_validate_json(each) for each in twins])))
    steps = {node for node in chart.nodes if node.startswith("step.")}
    assert len(steps) == 6
