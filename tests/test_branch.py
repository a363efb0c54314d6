from choreo.branch import covers, related


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
