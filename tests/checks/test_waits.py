"""What is waited for in vain: joins that never fill, waits without an end, deadlines that nobody can meet."""

import pytest

from choreo.checks import WARNINGS, check_manifests
from tests.checks.graphs import Manifests, Named, altered, codes, graph, made, outcome, step, told, without

APPROVAL = graph("approval")
MARKET = graph("marketplace")
ORDER = graph("order")


def checked(*more: Named, publishes: list[str] | None = None) -> Manifests:
    """Return a saga in which one thing is checked, and whatever else there is beside that."""
    return made(
        step("b.check", [["a.Start"]], outcome("b.Passed"), outcome("b.NotPassed")),
        step("a.fail", [["b.NotPassed"]], outcome("a.Failed")),
        *more,
        publishes=publishes or [],
    )


# --- joins that never fill


def test_a_join_of_what_excludes_each_other_never_fills():
    both = checked(step("a.finish", [["b.Passed"], ["b.NotPassed"]], outcome("a.Done")))
    assert told(both, "CH114") == ["a.finish waits for Passed and for NotPassed, and no saga has both"]
    assert "CH114" not in codes(
        checked(step("a.finish", [["a.Start"], ["b.Passed", "b.NotPassed"]], outcome("a.Done")))
    )


def test_a_join_of_what_comes_from_two_ways_never_fills():
    """One needs what is returned, the other what is returned instead of it, each some steps behind."""
    ways = [
        step("b.choose", [["a.Start"]], outcome("b.Left"), outcome("b.Right")),
        step("c.go", [["b.Left"]], outcome("c.Gone")),
        step("d.walk", [["b.Right"]], outcome("d.Walked")),
    ]
    assert "CH114" in codes(made(*ways, step("a.finish", [["c.Gone"], ["d.Walked"]], outcome("a.Done"))))
    assert codes(made(*ways, step("a.finish", [["c.Gone", "d.Walked"]], outcome("a.Done")), fails="")) == set()


def test_r07_a_join_of_two_lists_branches_never_fills():
    lists = [
        step("b.split", [["a.Start"]], outcome("b.Part", opens=True), fan_out=True),
        step("c.split", [["a.Start"]], outcome("c.Piece", opens=True), fan_out=True),
    ]
    [message] = told(made(*lists, step("d.join", [["b.Part"], ["c.Piece"]], outcome("d.Joined"))), "CH114")
    assert message == "d.join waits for Part and Piece, which never stand in one branch"
    assert "CH114" not in codes(made(*lists, step("d.join", [["b.Part"], ["a.Start"]], outcome("d.Joined"))))


def test_gathering_what_comes_in_no_branch_never_fills():
    outside = altered(MARKET, "checkout.complete", waits_for=[["billing.PaymentAuthorised"]])
    assert told(outside, "CH114") == ["checkout.complete gathers PaymentAuthorised, which comes in no branch"]


def test_gathering_where_nobody_opens_branches_is_told():
    flat = altered(MARKET, "checkout.split", outcomes=[outcome("checkouts.SellerOrderPlaced")], fan_out=False)
    assert told(flat, "CH062") == [
        "checkout.complete gathers branches, and no handler returns a list",
        "checkout.abandon gathers branches, and no handler returns a list",
    ]


def test_a_fan_in_may_join_what_comes_outside_of_its_branches():
    joined = altered(
        MARKET, "checkout.complete", waits_for=[["delivery.PackageDelivered"], ["billing.PaymentAuthorised"]], gathers=0
    )
    assert check_manifests(joined) == []


# --- waits that nothing ends


def test_a_join_with_what_comes_from_outside_wants_a_deadline():
    forgetful = altered(
        without(APPROVAL, "approvals.expire"), "approvals.deny", waits_for=[["approvals.RequestRejected"]]
    )
    messages = told(forgetful, "CH115")
    assert (
        "approvals.hear_director waits for DirectorApproved or DirectorRejected, which a director publishes, or not: "
        "then saga approval never ends"
    ) in messages
    assert "CH115" in WARNINGS
    assert "CH115" not in codes(APPROVAL)


def test_so_does_a_handler_that_waits_for_that_alone():
    alone = checked(step("a.finish", [["x.Answered"]], outcome("a.Done")), publishes=["x.Answered"])
    assert told(alone, "CH115") == [
        "a.finish waits for Answered, which somebody publishes, or not: then saga saga never ends"
    ]
    answer = step("a.late", [["a.Start"]], outcome("a.NotInTime"), kind="deadline", awaits=["x.Answered"])
    ended = checked(step("a.finish", [["x.Answered"]], outcome("a.Done")), answer, publishes=["x.Answered"])
    assert "CH115" not in codes(altered(ended, "a.fail", waits_for=[["b.NotPassed", "a.NotInTime"]]))


def test_silence_may_be_an_answer():
    """The very event that people publish, emitted in their place."""
    answered = made(
        step("a.wait", [["a.Start"]], outcome("x.Answered"), kind="deadline", awaits=["x.Answered"]),
        step("a.finish", [["x.Answered"]], outcome("a.Done")),
        publishes=["x.Answered"],
        fails="",
    )
    assert "CH115" not in codes(answered)


def test_silence_may_be_an_event_that_leads_on():
    heard = [["x.Answered", "a.Silent"]]
    silent = made(
        step("a.wait", [["a.Start"]], outcome("a.Silent"), kind="deadline", awaits=["x.Answered"]),
        step("a.finish", heard, outcome("a.Done")),
        publishes=["x.Answered"],
        fails="",
    )
    assert codes(silent) == set()
    assert "CH115" in codes(altered(silent, "a.finish", waits_for=[["x.Answered"]]))


@pytest.mark.parametrize("other", [[], outcome("b.Unclear")], ids=["nothing", "something that nobody handles"])
def test_a_step_that_may_return_something_else_leaves_what_waits_for_it(other):
    passing = checked(step("a.finish", [["b.Passed"]], outcome("a.Done")))
    assert codes(passing) == set()
    unsure = altered(
        passing,
        "b.check",
        emits=["b.Passed", "b.NotPassed", *(each.types[0] for each in other)],
        outcomes=[outcome("b.Passed"), outcome("b.NotPassed"), other],
    )
    instead = "Unclear instead" if other else "nothing"
    assert told(unsure, "CH115") == [
        f"a.finish waits for Passed, and b.check may return {instead}: then saga saga never ends"
    ]


def test_a_step_that_counts_may_say_nothing_until_it_has_counted_enough():
    counting = made(
        step("b.bid", [["a.Start"]], outcome("b.Bid")),
        step("c.bid", [["a.Start"]], outcome("b.Bid")),
        step("d.count", [["b.Bid"]], outcome("d.Enough"), []),
        step("a.finish", [["d.Enough"]], outcome("a.Done")),
        fails="",
    )
    assert "CH115" not in codes(counting)
    assert "CH115" in codes(without(counting, "c.bid"))


def test_a_branch_that_brings_nothing_leaves_what_gathers_it():
    """A parcel may be neither delivered nor lost."""
    carried = [outcome("delivery.PackagePickedUp", "delivery.PackageDelivered"), outcome("delivery.PackagePickedUp")]
    [message] = told(altered(MARKET, "delivery.carry", outcomes=carried), "CH115")
    assert message.startswith("checkout.complete waits for PackageDelivered, and delivery.carry may return")
    assert "in one of the branches" in message


def test_each_branch_may_go_its_own_way_to_what_gathers_all():
    """Some parcels are fetched and some brought, and nobody gathers the two together."""
    split = [
        step("b.split", [["a.Start"]], outcome("b.Part", opens=True), fan_out=True),
        step("c.choose", [["b.Part"]], outcome("c.Fetched"), outcome("c.Brought")),
    ]
    together = step("d.gather", [["c.Fetched", "c.Brought"]], outcome("d.All"), fan_in=True, gathers=0)
    apart = [
        step("d.fetched", [["c.Fetched"]], outcome("d.All"), fan_in=True, gathers=0),
        step("d.brought", [["c.Brought"]], outcome("d.All"), fan_in=True, gathers=0),
    ]
    finish = step("a.finish", [["d.All"]], outcome("a.Done"))
    assert codes(made(*split, together, finish, fails="")) == set()
    assert codes(made(*split, *apart, finish, fails="")) == {"CH115"}


def test_a_loop_that_is_left_some_time_is_no_wait():
    loop = made(
        step("b.try", [["a.Start", "c.Again"]], outcome("b.Worked"), outcome("b.Failed")),
        step("c.retry", [["b.Failed"]], outcome("c.Again", later=True), outcome("c.NotAgain")),
        step("a.finish", [["b.Worked"]], outcome("a.Done")),
        step("a.fail", [["c.NotAgain"]], outcome("a.Failed")),
    )
    assert "CH115" not in codes(loop)


def test_a_saga_with_more_ways_than_can_be_followed_is_not_told_of():
    """Forty decisions beside each other go more ways than anybody counts."""
    decisions = [step(f"b.decide{n}", [["a.Start"]], outcome(f"b.Yes{n}"), outcome(f"b.No{n}")) for n in range(40)]
    both = [[f"b.Yes{n}", f"b.No{n}"] for n in range(40)]
    assert codes(made(*decisions, step("a.finish", both, outcome("a.Done")), fails="")) == set()


# --- what unless keeps from coming


def test_r36b_what_unless_may_keep_from_coming_is_not_waited_for():
    skipped = altered(ORDER, "shipping.check_address", unless=["inventory.InventoryReserved"])
    [message] = told(skipped, "CH109")
    assert message == (
        "shipping.check_address does not run where InventoryReserved came first, and orders.confirm waits for "
        "AddressConfirmed in vain"
    )


def test_r36b_nor_is_an_end_that_it_keeps_from_coming():
    never = altered(ORDER, "orders.confirm", unless=["shipping.AddressConfirmed"])
    assert told(never, "CH109") == [
        "orders.confirm does not run where AddressConfirmed came first, and saga order-fulfilment never ends then"
    ]
    unfailing = altered(ORDER, "orders.cancel", unless=["payments.PaymentDeclined"])
    assert codes(unfailing) == {"CH109"}


def test_r36b_a_failure_that_ends_the_saga_may_keep_a_step_from_running():
    assert codes(altered(ORDER, "shipping.check_address", unless=["inventory.OutOfStock"])) == set()


def test_r36b_what_follows_from_a_step_keeps_it_from_running_no_more():
    checked_after = made(
        step("b.both", [["a.Start"]], outcome("b.One", "b.Two"), outcome("b.One", "b.Three"), unless=["c.Fine"]),
        step("c.check", [["b.One"]], outcome("c.Fine")),
        step("a.finish", [["c.Fine"], ["b.Two", "b.Three"]], outcome("a.Done")),
        fails="",
    )
    assert codes(checked_after) == set()
    assert "CH109" in codes(altered(checked_after, "c.check", waits_for=[["a.Start"]]))


def test_r36b_what_only_tells_people_may_be_left_out():
    assert codes(altered(APPROVAL, "mailroom.send_reminder", unless=["decisions.ManagerApproved"])) == set()


# --- deadlines


def deadline(awaits: list[str], *, counts_from: str = "a.Start", **fields: object) -> Named:
    return step("a.late", [[counts_from]], outcome("a.Late"), kind="deadline", awaits=awaits, **fields)


FINISH = step("a.finish", [["b.Passed"]], outcome("a.Done"))


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (deadline(["d.Told"]), "a.late awaits Told, which comes only after it has fired"),
        (deadline(["a.Late"]), "a.late awaits Late, which comes only after it has fired"),
        (
            deadline(["a.Done"], counts_from="b.NotPassed", after_abort=True),
            "a.late awaits Done, which never comes where NotPassed does",
        ),
        (
            deadline(["a.Failed"], counts_from="b.NotPassed"),
            "a.late counts from NotPassed, and no deadline is set once a saga has failed",
        ),
        (
            deadline(["b.Passed"], counts_from="a.Done"),
            "a.late awaits Passed, which has come whenever Done comes: it never fires",
        ),
    ],
)  # fmt: skip
def test_a_deadline_that_is_decided_before_it_is_set_is_told(late: Named, message: str):
    assert told(checked(FINISH, late, step("d.tell", [["a.Late"]], outcome("d.Told"))), "CH116") == [message]


@pytest.mark.parametrize(
    "late",
    [
        deadline(["b.Passed"]),
        deadline(["d.Told", "b.Passed"]),
        deadline(["a.Failed"], counts_from="b.NotPassed", after_abort=True),
        deadline(["a.Done"], counts_from="b.Passed"),
    ],
)
def test_a_deadline_that_may_be_met_or_missed_is_not(late: Named):
    assert codes(checked(FINISH, late, step("d.tell", [["a.Late"]], outcome("d.Told")))) == set()


def test_what_comes_later_has_not_come_with_what_comes_at_once():
    late = checked(
        FINISH,
        step("c.order", [["a.Start"]], [*outcome("c.Ordered"), *outcome("c.Reminded", later=True)]),
        step("d.mark", [["c.Ordered"]], outcome("d.Marked")),
        deadline(["c.Reminded"], counts_from="d.Marked"),
    )
    assert "CH116" not in codes(late)


@pytest.mark.parametrize(("within_s", "expected"), [(60.0, {"CH116"}), (120.0, {"CH116"}), (180.0, set())])
def test_a_deadline_that_waits_for_a_slower_one_cannot_be_met(within_s: float, expected: set[str]):
    slow = step("c.wait", [["a.Start"]], outcome("c.Waited"), kind="deadline", awaits=["b.Passed"], within_s=120.0)
    late = deadline(["d.Told"], within_s=within_s)
    assert codes(checked(FINISH, slow, late, step("d.tell", [["c.Waited"]], outcome("d.Told")))) == expected
