from choreo.memory import Recorded
from choreo.scope import Fork, by_fan_out, covers, emitter, fan_in_trigger, opened, reaches, related, source_of


def test_r07_an_event_counts_in_its_branch_and_those_inside_it():
    assert covers("", "/a:0.2")
    assert covers("/a:0.2", "/a:0.2")
    assert covers("/a:0.2", "/a:0.2/b:1.3")
    assert not covers("/a:0.2", "/a:0.20")
    assert not covers("/a:0.2", "")
    assert not covers("/a:0.2", "/a:1.2")


def test_r07_a_compensations_event_reaches_inwards_and_outwards():
    assert related("/a:0.2", "")
    assert related("", "/a:0.2")
    assert not related("/a:0.2", "/a:1.2")


def test_r07_a_failure_counts_everywhere_and_a_compensations_event_around_its_branch():
    failed, undone, done = (
        Recorded("id", kind, branch="/aaaaaaaa:0.2", compensates_id=original)
        for kind, original in (("Failed", ""), ("Undone", "original"), ("Done", ""))
    )
    reached = [
        [reaches(each, branch, {"Failed"}) for branch in ("", "/aaaaaaaa:1.2")] for each in (failed, undone, done)
    ]
    assert reached == [[True, True], [True, False], [False, False]]


def test_r02_a_fan_in_runs_for_the_fan_out_that_opened_its_branches():
    inner, outer = opened("/aaaaaaaa:0.2", "bbbbbbbb-key", 1, 2), "/aaaaaaaa:0.2"
    causes = [Recorded(kind, kind, branch=each) for kind, each in (("Other", inner), ("Done", outer), ("Done", inner))]
    assert fan_in_trigger(outer, {"Done"}, causes) == "bbbbbbbb"
    assert fan_in_trigger("", {"Done"}, causes[2:]) == ""


def test_r12_of_each_branch_of_a_fan_out_the_first_event_is_gathered():
    places = [("", "key", path, 2) for path in (1, 0, 1)]
    done = [
        Recorded(str(number), "Done", branch=opened(outer, f"aaaaaaaa-{key}", path, of))
        for number, (outer, key, path, of) in enumerate(places)
    ]
    others = [Recorded("root", "Done"), Recorded("other", "Other", branch=done[0].branch)]
    gathered = by_fan_out([*others, *done], {"Done"})
    assert gathered == {Fork("", "aaaaaaaa", 0, 2): {1: done[0], 0: done[1]}}


def test_r02_an_emitter_is_read_back_from_its_source():
    assert emitter(source_of("payments", "capture")) == ("payments", "capture")
    assert emitter("https://elsewhere.example") == emitter("/payments") == ("", "")
