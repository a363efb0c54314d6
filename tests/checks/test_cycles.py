"""A circle of handlers is told of, unless something bounds it."""

from tests.checks.graphs import Manifests, codes, graph, made, outcome, step, told

TRY = step("b.try", [["a.Start", "c.Again"]], outcome("b.Worked"), outcome("b.Missed"))
FINISH = step("a.finish", [["b.Worked"]], outcome("a.Done"))


def circle(*more: object, **retry: object) -> Manifests:
    later = bool(retry.pop("later", False))
    again = step("c.retry", [["b.Missed"]], outcome("c.Again", later=later), **retry)
    return made(TRY, again, FINISH, *more, fails="")  # type: ignore[arg-type]


def test_a_circle_without_a_bound_is_told():
    assert told(circle(), "CH113") == [
        "b.try → c.retry → b.try is a circle that nothing bounds: it may go round until hops_max parks it"
    ]


def test_a_step_that_leads_to_itself_is_a_circle():
    alone = made(step("b.try", [["a.Start", "b.Again"]], outcome("b.Worked"), outcome("b.Again")), FINISH, fails="")
    assert "CH113" in codes(alone)


def test_a_join_runs_once_and_bounds_a_circle():
    joined = made(TRY, step("c.retry", [["b.Missed"], ["a.Start"]], outcome("c.Again")), FINISH, fails="")
    assert "CH113" not in codes(joined)


def test_unless_bounds_a_circle():
    assert "CH113" not in codes(circle(unless=["b.Worked"]))


def test_a_deadline_bounds_a_circle_that_takes_its_time():
    late = step("a.late", [["a.Start"]], outcome("a.NotInTime"), kind="deadline", awaits=["b.Worked"])
    assert "CH113" in codes(circle(later=True))
    assert "CH113" in codes(circle(late))
    assert "CH113" not in codes(circle(late, later=True))


def test_what_is_undone_does_not_go_round():
    assert all("CH113" not in codes(graph(name)) for name in ("order", "marketplace"))
