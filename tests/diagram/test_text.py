"""The choreography in a terminal."""

import re

from choreo.choreography import Choreography
from choreo.diagram import text
from tests.diagram.scenes import everything, example, hostile, tangled

EVERYTHING = """\
saga order, owned by shop
  starts with Placed
  completes with Confirmed
  fails with Cancelled

elsewhere
  · Foreign → pay.capture

shop
  ● Placed → clock.tick, shop.overdue, stock.reserve, pay.capture, clock.gather
  ⧗ overdue ← Placed, after 90 s without Cancelled | Confirmed
    ✗ TimedOut → stock.release, pay.discharge, pay.refund, shop.cancel
  cancel ← Unknown | TimedOut
    ✘ Cancelled
  confirm ← Captured + Reserved
    ✔ Confirmed

clock
  tick ← Tocked | Placed
    · Ticked → clock.spread, clock.tock
  spread ← Ticked
    · list[Noted] → clock.gather
  tock ← Ticked, unless Cancelled | TimedOut
    · Later[Tocked] → clock.tick
  gather ← list[Noted] + Placed

stock
  reserve ← Placed
    · Reserved → pay.capture, shop.confirm
    ↶ release ← Refunded | TimedOut, undoes Reserved or nothing
      ↩ Released

pay
  capture ← Placed + Reserved + Foreign
    · Captured → shop.confirm
    · Charged
    ⚠ give_up when capture gives up
      ✗ Unknown → pay.discharge, pay.refund, shop.cancel
    ↶ discharge ← Unknown | TimedOut, undoes Charged or nothing
      ↩ Discharged
    ↶ refund ← Unknown | TimedOut, undoes Captured or nothing
      ↩ Refunded → stock.release
"""


def test_everything_is_told_as_in_type_hints_and_what_undoes_a_step_below_it():
    assert text(Choreography(everything())) == EVERYTHING


def test_a_union_within_a_join_stands_in_brackets():
    assert "  hear_manager ← ApprovalRequested + (ManagerApproved | ManagerRejected)\n" in text(example("approval"))


def test_who_decides_outside_is_told():
    assert "  · ManagerApproved by a manager → approvals.hear_manager\n" in text(example("approval"))


def test_colours_are_all_that_colouring_adds():
    coloured = text(Choreography(everything()), coloured=True)
    assert re.sub(r"\x1b\[\d+m", "", coloured) == EVERYTHING
    assert "\x1b[31m✗ TimedOut\x1b[0m" in coloured
    assert "\x1b[33m↶ release\x1b[0m" in coloured
    assert "\x1b[35m⧗ overdue\x1b[0m" in coloured
    assert "\x1b[1mshop\x1b[0m" in coloured


def test_steps_that_belong_to_each_other_in_a_circle_are_still_told_once():
    lines = [line.split() for line in text(Choreography(tangled())).splitlines()]
    assert sum("round" in line and "↶" in line for line in lines) == 1
    assert sum("and_round" in line and "⚠" in line for line in lines) == 1


def test_no_name_reaches_the_terminal_as_a_command():
    told = text(Choreography(hostile()))
    assert "\x1b" not in told
    assert "\\x1b[31m\\n]]>" in told
