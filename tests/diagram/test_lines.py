"""Lines side by side, and where one leaves another's way."""

from choreo.svg.strokes import bends, branch
from choreo.svg.tracks import Span, track_numbers


def test_lines_that_never_meet_share_a_track():
    assert track_numbers([Span(0, 1), Span(2, 3)]) == [0, 0]
    assert track_numbers([Span(0, 1), Span(0.5, 2.5), Span(2, 3)]) == [0, 1, 2]


def test_lines_that_nearly_meet_do_not():
    assert track_numbers([Span(0, 1), Span(1.01, 2)]) == [0, 1]


def test_lines_lie_so_that_they_cross_least():
    # Two stairs from before the first track to behind the last one; the lower one must turn down first.
    upper = Span(0, 3, before=(0,), after=(3,))
    lower = Span(2, 5, before=(2,), after=(5,))
    assert track_numbers([upper, lower]) == [1, 0]
    assert track_numbers([lower, upper]) == [0, 1]


def test_a_corner_on_a_straight_line_is_none():
    assert bends([(0, 0), (0, 0), (5, 0), (9, 0), (9, 4), (9, 8)]) == ((0, 0), (9, 0), (9, 8))


def test_a_branch_begins_a_little_before_it_leaves_the_others():
    way = ((0.0, 0.0), (50.0, 0.0), (50.0, 40.0), (90.0, 40.0))
    further = ((0.0, 0.0), (50.0, 0.0), (50.0, 80.0), (90.0, 80.0))
    other_way = ((0.0, 0.0), (50.0, 0.0), (50.0, -40.0))
    assert branch(further, [way]) == ((50.0, 28.0), (50.0, 80.0), (90.0, 80.0))
    assert branch(other_way, [way]) == ((38.0, 0.0), (50.0, 0.0), (50.0, -40.0))
    assert branch(way, []) == way
    assert branch(((0.0, 0.0), (0.0, 9.0)), [way]) == ((0.0, 0.0), (0.0, 9.0))
