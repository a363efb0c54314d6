"""The drawing that choreo makes itself: sound markup, nothing on top of anything else, every kind to be told apart."""

import re
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from choreo.choreography import Choreography
from choreo.diagram import Picture
from choreo.svg import svg
from choreo.svg.cards import EVENT_PX, NOTE_PX, TITLE_PX, text_width
from choreo.svg.layout import Drawing, drawing
from tests.diagram.scenes import HOSTILE, everything, invented, scenes

NAMESPACE = "{http://www.w3.org/2000/svg}"
SCENES = {**dict(scenes()), **{f"invented {seed}": invented(seed) for seed in range(25)}}
APART = 4
"""How far apart lines side by side are at least, in pixels."""
SIZES = {"title": TITLE_PX, "note": NOTE_PX}


@cache
def drawn(name: str) -> Drawing:
    return drawing(Picture(Choreography(SCENES[name])))


@cache
def document(name: str) -> str:
    return svg(Choreography(SCENES[name]))


def tree(text: str) -> ET.Element:
    return ET.fromstring(text)


def every(node: ET.Element, tag: str, look: str = "") -> list[ET.Element]:
    return [each for each in node.iter(NAMESPACE + tag) if look in each.get("class", "").split() or not look]


def texts(node: ET.Element, look: str = "") -> list[str]:
    return [each.text or "" for each in every(node, "text", look)]


def cards(node: ET.Element) -> dict[str, ET.Element]:
    """Every card's group by its title."""
    groups = [each for each in every(node, "g") if every(each, "rect", "card")]
    return {texts(each, "title")[0]: each for each in groups}


@pytest.mark.parametrize("name", SCENES)
def test_no_card_lies_on_another_and_all_are_in_their_lane(name: str):
    page = drawn(name)
    lanes = {lane.service: lane for lane in page.lanes}
    for box in page.boxes:
        lane = lanes[box.card.service]
        assert lane.top < box.y
        assert box.y + box.height < lane.bottom
        assert box.x > 0
        assert box.x + box.width < page.width
    for one, other in combinations(page.boxes, 2):
        aside = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert aside or one.y + one.height <= other.y or other.y + other.height <= one.y, (one.card, other.card)


def runs(page: Drawing) -> list[tuple[object, float, float, float, float]]:
    """Every straight run of every line, from left to right and from top to bottom."""
    return [
        (line.net, min(x, end_x), min(y, end_y), max(x, end_x), max(y, end_y))
        for line in page.lines
        for path in (*line.paths, *line.joins)
        for (x, y), (end_x, end_y) in pairwise(path)
    ]


@pytest.mark.parametrize("name", SCENES)
def test_lines_run_across_or_down_between_the_cards(name: str):
    page = drawn(name)
    for net, left, top, right, bottom in runs(page):
        assert left == right or top == bottom
        assert 0 < left <= right < page.width
        assert 0 < top <= bottom < page.height
        for box in page.boxes:
            beside = right <= box.x or left >= box.x + box.width
            assert beside or bottom <= box.y or top >= box.y + box.height, (net, box.card)


@pytest.mark.parametrize("name", SCENES)
def test_lines_with_different_ends_stay_apart(name: str):
    for (net, left, top, right, bottom), (other, x, y, end_x, end_y) in combinations(runs(drawn(name)), 2):
        if net is other or set(net.targets) & set(other.targets):
            continue
        down, across = left == right and x == end_x, top == bottom and y == end_y
        assert not (down and abs(left - x) < APART and min(bottom, end_y) - max(top, y) > APART), (net, other)
        assert not (across and abs(top - y) < APART and min(right, end_x) - max(left, x) > APART), (net, other)


@pytest.mark.parametrize("name", SCENES)
def test_every_line_ends_at_the_cards_that_its_event_sets_going(name: str):
    page = drawn(name)
    picture = Picture(Choreography(SCENES[name]))
    sides = {box.card.name: {box.x, box.x + box.width} for box in page.boxes}
    for line in page.lines:
        assert len(line.paths) == len(line.net.targets)
        for target, path in zip(line.net.targets, line.paths, strict=True):
            assert path[-1][0] in sides[target.card]
        for event in line.net.events:
            assert {pin.card for pin in line.net.targets} == {step.name for step in picture.takers(event)}


@pytest.mark.parametrize("name", SCENES)
def test_the_document_stands_alone(name: str):
    text = document(name)
    root = tree(text)
    assert {each.tag.removeprefix(NAMESPACE) for each in root.iter()} <= {
        "svg",
        "title",
        "style",
        "g",
        "rect",
        "path",
        "text",
    }
    assert re.findall(r"https?:[^\"']*", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"url\(|@import|href|\b(nan|inf)\b", text)
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"


@pytest.mark.parametrize("name", SCENES)
def test_text_stays_within_its_card_in_any_common_monospaced_font(name: str):
    for card in cards(tree(document(name))).values():
        [rect] = every(card, "rect")
        for text in every(card, "text"):
            size = SIZES.get(text.get("class", ""), EVENT_PX)
            # 0.602 em is the advance of DejaVu Sans Mono and Menlo; Consolas, Courier and the rest are narrower.
            end = float(text.get("x", "")) + 0.602 * size * len(text.text or "")
            assert end < float(rect.get("width", ""))
            assert float(text.get("y", "")) < float(rect.get("height", ""))


@pytest.mark.parametrize("name", SCENES)
def test_lanes_and_legend_stay_on_the_page(name: str):
    root = tree(document(name))
    places = {each: each.get("transform", "translate(0,0)") for each in root.iter()}
    for group in [root, *every(root, "g")]:
        x, y = map(float, re.findall(r"-?[\d.]+", places[group]))
        for text in [each for each in group if each.get("class") in {"service", "legend"}]:
            size = {"service": TITLE_PX, "legend": NOTE_PX}[text.get("class", "")]
            assert x + float(text.get("x", "")) + 0.602 * size * len(text.text or "") < float(root.get("width", ""))
            assert y + float(text.get("y", "")) < float(root.get("height", ""))


@pytest.mark.parametrize("name", SCENES)
def test_lines_meet_cards_within_their_height(name: str):
    page = drawn(name)
    heights = {box.card.name: box.height for box in page.boxes}
    assert all(0 < pin.offset < heights[pin.card] for line in page.lines for pin in line.net.pins)
    assert all(box.card.port_y(len(box.card.ports) - 1) < box.height for box in page.boxes)


def test_every_card_is_drawn_even_where_undoing_goes_in_circles():
    drawn_cards = {box.card.name for box in drawn("tangled").boxes}
    assert {"s0.round", "s0.and_round", "s0.for_nobody", "s0.wide"} <= drawn_cards


def test_lanes_that_share_an_event_of_their_own_lie_beside_each_other():
    lanes = [lane.service for lane in drawn("star").lanes]
    assert lanes[0] == "s0"
    assert abs(lanes.index("p0") - lanes.index("p8")) == 1


def test_services_that_have_nothing_to_do_with_each_other_keep_to_themselves():
    lanes = [lane.service for lane in drawn("all examples").lanes]
    order = {"orders", "inventory", "payments", "shipping", "notifications"}
    market = {"checkout", "billing", "sellers", "delivery"}
    for own in (order, market, {"approvals", "mailroom"}):
        places = sorted(lanes.index(each) for each in own)
        assert places == list(range(places[0], places[0] + len(own)))
    assert lanes[lanes.index("orders") - 1] not in order


def test_a_long_name_stretches_no_other_card():
    page = drawn("all examples")
    long = everything()[0].model_dump_json().replace("TimedOut", "Timed" * 12)
    stretched = drawing(Picture(Choreography([everything()[0].model_validate_json(long), *everything()[1:]])))
    boxes = {box.card.name: box for box in stretched.boxes}
    assert boxes["shop.overdue"].width > 2 * boxes["stock.reserve"].width
    assert boxes["stock.reserve"].width == boxes["stock.release"].width
    assert len({box.width for box in page.boxes if box.card.column == 1}) == 1


def test_of_two_lines_to_one_card_only_one_runs_along_its_row():
    for name in SCENES:
        page = drawn(name)
        boxes = {box.card.name: box for box in page.boxes}
        ends: dict[object, list[float]] = {}
        for line in page.lines:
            for target, path in zip(line.net.targets, line.paths, strict=True):
                (before, _), (end, _) = path[-2:]
                ends.setdefault(target, []).append(abs(end - before) if len(path) > 2 or line.joins else 0)
        for target, lengths in ends.items():
            width = boxes[target.card].width
            assert sum(length > width for length in lengths) <= 1, (name, target)


def test_wide_characters_take_two_columns():
    [manifest] = [each for each in everything() if each.service == "stock"]
    wide = manifest.model_validate_json(
        manifest.model_dump_json().replace("Reserved", "予約済みの商品がここにあります")
    )
    narrow = drawing(Picture(Choreography([manifest]))).width
    assert drawing(Picture(Choreography([wide]))).width - narrow > 2 * 0.6 * EVENT_PX * (
        len("予約済みの商品がここにあります") - len("Reserved")
    )


def test_marks_above_letters_take_no_room():
    assert text_width("e\u0301t\u0301", 10) == text_width("et", 10)


def test_what_undoes_a_step_stands_below_it_and_is_entered_from_the_right():
    boxes = {box.card.name: box for box in drawn("order").boxes}
    refund, capture = boxes["payments.refund"], boxes["payments.capture"]
    assert (refund.x, refund.y > capture.y + capture.height) == (capture.x, True)
    arrivals = {
        target.card: (path[-2], path[-1])
        for line in drawn("order").lines
        for target, path in zip(line.net.targets, line.paths, strict=True)
    }
    (from_x, _), (to_x, _) = arrivals["payments.refund"]
    assert from_x > to_x == refund.x + refund.width
    (from_x, _), (to_x, _) = arrivals["payments.capture"]
    assert from_x < to_x == capture.x


def test_lines_are_drawn_as_what_they_carry():
    nets = every(tree(document("order")), "g", "net")
    looks = {each.findtext(f"{NAMESPACE}title", ""): each.get("class") for each in nets}
    assert looks["PaymentCaptured → shipping.create, orders.confirm"] == "net fact"
    assert looks["PaymentDeclined → inventory.release, orders.cancel"] == "net failure"
    assert looks["PaymentRefunded → inventory.release"] == "net undoing"
    assert len(looks) == 14


def test_events_that_set_the_same_going_share_a_line():
    [line] = [line for line in drawn("approval").lines if "decisions.ManagerApproved" in line.net.events]
    assert line.net.events == ("decisions.ManagerApproved", "decisions.ManagerRejected")
    assert (len(line.paths), len(line.joins)) == (1, 1)


def signs(card: ET.Element) -> list[str]:
    return [each.get("class", "").removeprefix("sign ") for each in every(card, "path", "sign")]


def test_every_kind_of_step_is_told_apart():
    root = tree(document("everything"))
    found = cards(root)
    looks = {title: card.get("class") for title, card in found.items()}
    assert (looks["confirm"], looks["release"], looks["overdue"], looks["give_up"]) == (
        "forward",
        "compensation",
        "deadline",
        "otherwise",
    )
    assert looks["starts order"] == "source"
    assert looks["from none of these services"] == "source unknown"
    assert signs(found["overdue"]) == ["clock", "failure"]
    assert signs(found["release"]) == ["undoing", "undoing"]
    assert signs(found["spread"]) == ["fact", "fan-out"]
    assert signs(found["gather"]) == ["fan-in"]
    assert signs(found["tock"]) == ["fact", "clock"]
    assert signs(found["confirm"]) == ["completes"]
    assert signs(found["cancel"]) == ["fails"]
    assert texts(found["overdue"], "note") == ["90 s without Cancelled,", "Confirmed"]
    assert texts(found["tock"], "note") == ["unless Cancelled, TimedOut"]
    assert texts(found["give_up"], "note") == ["when capture gives up"]
    assert texts(found["refund"], "note") == ["undoes Captured"]


def test_only_joins_have_a_bar_and_it_spans_all_their_ports():
    found = cards(tree(document("everything")))
    joins = {title: len(every(card, "path", "join")) for title, card in found.items()}
    assert {title for title, count in joins.items() if count} == {"confirm", "capture", "gather"}
    [bar] = every(found["capture"], "path", "join")
    assert bar.get("d") == "M0,12V38"


def test_steps_are_linked_to_what_they_belong_to():
    page = drawing(Picture(Choreography(everything())))
    boxes = {box.card.name: box for box in page.boxes}
    capture, give_up, refund = boxes["pay.capture"], boxes["pay.give_up"], boxes["pay.refund"]
    assert [link.look for link in page.links].count("undoing") == 3
    [taking_over] = [link for link in page.links if link.look == "failure"]
    assert [y for _, y in taking_over.path] == [capture.y + capture.height, give_up.y]
    passing = [link.path for link in page.links if link.path[0][1] > refund.y and link.path[0][0] == refund.x]
    assert passing[0][-1][0] == capture.x
    assert capture.y < passing[0][-1][1] < capture.y + capture.height
    assert max(x for x, _ in passing[0][1:3]) < capture.x


def test_the_legend_explains_what_occurs_and_nothing_else():
    assert texts(tree(document("order")), "legend") == [
        "sets going",
        "failure",
        "undone",
        "completes the saga",
        "fails the saga",
        "joins: waits for all",
        "undoes the step above",
    ]
    assert texts(tree(document("everything")), "legend")[-4:] == [
        "one from each branch",
        "after a time",
        "undoes the step above",
        "when retries are spent",
    ]


def test_it_reads_in_light_and_in_dark():
    style = every(tree(document("order")), "style")[0].text or ""
    light, dark = re.findall(r"\.choreo\{(--[^}]*)\}", style)
    colours = [dict(each.split(":") for each in block.split(";")) for block in (light, dark)]
    assert colours[0].keys() == colours[1].keys()
    assert "@media(prefers-color-scheme:dark)" in style
    for scheme in colours:
        for ground in ("page", "lane", "card"):
            for ink in ("ink", "muted", "fact", "failure", "undoing", "good", "start", "deadline"):
                assert contrast(scheme[f"--{ink}"], scheme[f"--{ground}"]) >= 4.5, (ink, ground)
            assert contrast(scheme["--amber"], scheme[f"--{ground}"]) >= 3
    assert set(re.findall(r"var\((--\w+)\)", style)) == colours[0].keys()


def contrast(one: str, other: str) -> float:
    """The ratio that WCAG 2 asks to be 4.5 for text, and 3 for lines."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_names_are_shown_as_they_are_and_never_obeyed():
    root = tree(document("hostile"))
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert shown in texts(root, "service")
    assert {f"{shown}0", f"{shown}1", f"starts {shown}"} <= set(cards(root))
    assert {each.get("class") for each in cards(root).values()} == {"source", "forward"}


@pytest.mark.parametrize(("name", "picture"), [("order", "order-fulfilment"), ("marketplace", "marketplace")])
def test_the_pictures_in_the_docs_are_today_s(name: str, picture: str):
    kept = Path(__file__).parents[2] / "docs" / "images" / f"{picture}.svg"
    assert kept.read_text(encoding="utf-8") == document(name), f"run: choreo graph … --format svg > {kept}"


def test_nothing_is_still_a_drawing():
    assert texts(tree(document("nothing"))) == []
