"""The approval workflow: both services together through weeks of virtual time."""

import re
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import services
from choreo import SagaState, Settings, check
from choreo.testing import Scenario, context
from services.approval.approvals import approvals
from services.approval.events import (
    ApprovalRequested,
    DirectorApproved,
    DirectorRejected,
    Escalated,
    MailSent,
    ManagerApproved,
    ManagerRejected,
    ManagerReminded,
    RequestDenied,
    RequestExpired,
    RequestGranted,
    RequestRejected,
)
from services.approval.mailroom import Outbox, mailroom
from services.approval.mailroom.service import send_reminder

FOLDER = Path(services.__file__).parent / "approval"
TUTORIAL = Path(services.__file__).parents[1] / "docs" / "tutorial" / "approval.md"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
A_MOMENT = timedelta(milliseconds=1)
REQUESTED = ApprovalRequested(
    request_id="R-17", title="Standing desks", amount="1200.00", requested_by="kim@example.com"
)
YES = ManagerApproved(manager="Ines")
NO = ManagerRejected(manager="Ines", why="no budget")
DIRECTORS_YES = DirectorApproved(director="Olaf")
DIRECTORS_NO = DirectorRejected(director="Olaf", why="not now")


@pytest.fixture(params=["exactly_once", "at_least_once"])
def settings(request):
    return Settings.model_construct(delivery=request.param)


def told(saga):
    """Return what a saga said but for the mails."""
    return [each for each in saga.emitted if each is not MailSent]


def mails(folder, request_id="R-17"):
    with closing(Outbox(folder / "mailroom.db")) as outbox:
        return [subject.partition(":")[0] for _, subject in outbox.sent(request_id)]


def test_r11_a_mail_is_sent_once_a_step(tmp_path):
    reminded = ManagerReminded(request_id="R-17", title="Standing desks")
    with closing(Outbox(tmp_path / "mailroom.db")) as outbox:
        first = send_reminder(reminded, context(idempotency_key="k"), outbox)
        assert first == send_reminder(reminded, context(idempotency_key="k"), outbox)
        assert outbox.sent("R-17") == [("manager@example.com", "Still to decide: Standing desks")]


# Both together.


def test_nothing_about_these_services_looks_wrong():
    assert check(approvals, mailroom) == []


def test_a_request_that_is_granted_at_once_bothers_nobody(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(timedelta(hours=2))
        s.publish(YES, key="R-17")
        s.settle()
        assert s.now == BEGAN + timedelta(hours=2), "nothing is left to wait for"
        assert saga.emitted == [ApprovalRequested, ManagerApproved, RequestGranted, MailSent]
        assert saga.event(RequestGranted).decided_by == "Ines"
        assert saga.event(MailSent).to == "kim@example.com"
        assert saga.state is SagaState.COMPLETED
    assert mails(services_data) == ["Granted by Ines"]


def test_a_rejection_is_a_failure_with_its_reason(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.publish(NO, key="R-17")
        s.settle()
        assert told(saga) == [ApprovalRequested, ManagerRejected, RequestRejected, RequestDenied]
        assert [reason.text for reason in saga.reasons] == ["Ines: no budget"]
        assert saga.state is SagaState.FAILED
    assert mails(services_data) == ["Denied"]


def test_r24_the_manager_is_reminded_after_a_day_and_not_before(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(DAY - A_MOMENT)
        assert told(saga) == [ApprovalRequested]
        s.advance(A_MOMENT)
        assert told(saga) == [ApprovalRequested, ManagerReminded]
        assert mails(services_data) == ["Still to decide"]
        s.publish(YES, key="R-17")
        s.settle()
        assert told(saga) == [ApprovalRequested, ManagerReminded, ManagerApproved, RequestGranted]
    assert mails(services_data) == ["Still to decide", "Granted by Ines"]


@pytest.mark.parametrize("answer", [YES, NO], ids=["yes", "no"])
def test_r24_nobody_is_reminded_who_has_answered(settings, answer):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(DAY - A_MOMENT)
        s.publish(answer, key="R-17")
        s.settle()
        s.advance(timedelta(days=60))
        assert not {ManagerReminded, Escalated, RequestExpired}.intersection(saga.emitted)


def test_r23_a_request_is_escalated_after_exactly_three_days(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(3 * DAY - A_MOMENT)
        assert Escalated not in saga.emitted
        s.advance(A_MOMENT)
        assert told(saga) == [ApprovalRequested, ManagerReminded, Escalated]
        assert next(each for each in saga.events if each.event == saga.event(Escalated)).occurred_at == BEGAN + 3 * DAY
        assert saga.state is SagaState.PENDING, "an escalation is no failure"
        assert mails(services_data) == ["Still to decide", "Yours to decide"]


@pytest.mark.parametrize(
    ("answer", "state", "end"),
    [(DIRECTORS_YES, SagaState.COMPLETED, RequestGranted), (DIRECTORS_NO, SagaState.FAILED, RequestDenied)],
    ids=["yes", "no"],
)
def test_the_director_decides(settings, services_data, answer, state, end):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(5 * DAY)
        s.publish(answer, key="R-17")
        s.settle()
        assert s.now == BEGAN + 5 * DAY
        assert saga.emitted.count(end) == 1
        assert saga.state is state
        s.advance(timedelta(days=60))
        assert RequestExpired not in saga.emitted
    assert len(mails(services_data)) == 3


def test_a_director_who_is_early_decides_nothing_before_the_escalation(settings):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.publish(DIRECTORS_YES, key="R-17")
        s.advance(3 * DAY - A_MOMENT)
        assert saga.state is SagaState.PENDING
        s.advance(A_MOMENT)
        assert saga.event(RequestGranted).decided_by == "Olaf"
        assert saga.state is SagaState.COMPLETED


def test_r23_a_request_that_nobody_decides_expires_a_week_after_its_escalation(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.settle()
        assert s.now == BEGAN + 10 * DAY
        assert told(saga) == [ApprovalRequested, ManagerReminded, Escalated, RequestExpired, RequestDenied]
        assert saga.event(RequestDenied).reason == "nobody decided within 7 days of escalation"
        assert saga.state is SagaState.FAILED
    assert mails(services_data) == ["Still to decide", "Yours to decide", "Denied"]


@pytest.mark.parametrize(
    ("first", "second", "end"),
    [
        (YES, DIRECTORS_NO, RequestGranted),
        (DIRECTORS_NO, YES, RequestDenied),
        (NO, DIRECTORS_YES, RequestDenied),
        (DIRECTORS_YES, NO, RequestGranted),
    ],
    ids=["manager yes", "director no", "manager no", "director yes"],
)
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
def test_r19_of_two_who_decide_the_first_one_does(settings, services_data, first, second, end, together):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(4 * DAY)
        s.publish(first, key="R-17")
        if not together:
            s.settle()
        s.publish(second, key="R-17")
        s.settle()
        s.advance(timedelta(days=60))
        assert [each for each in saga.emitted if each in (RequestGranted, RequestDenied)] == [end]
        assert saga.state is (SagaState.COMPLETED if end is RequestGranted else SagaState.FAILED)
        assert (RequestRejected in saga.emitted) is (end is RequestDenied)
        assert saga.view.violations == []
        assert [note.event_type for note in saga.view.notes if note.kind == "dropped"] == [
            "approvals.RequestRejected" if end is RequestGranted else "approvals.RequestGranted"
        ]
    assert len(mails(services_data)) == 3


@pytest.mark.parametrize(("first", "second"), [(NO, YES), (YES, NO)], ids=["no, then yes", "yes, then no"])
def test_a_manager_decides_once(settings, services_data, first, second):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.publish(first, key="R-17")
        s.settle()
        state, emitted = saga.state, saga.emitted
        s.publish(second, key="R-17")
        s.settle()
        assert saga.state is state is (SagaState.COMPLETED if first is YES else SagaState.FAILED)
        assert saga.emitted == [*emitted, type(second)]
    assert len(mails(services_data)) == 1


def test_an_answer_after_the_expiry_changes_nothing(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.settle()
        emitted = saga.emitted
        s.publish(YES, key="R-17")
        s.publish(DIRECTORS_YES, key="R-17")
        s.settle()
        assert saga.emitted == [*emitted, ManagerApproved, DirectorApproved]
        assert saga.state is SagaState.FAILED
        assert saga.view.violations == []
    assert len(mails(services_data)) == 3


def test_r02_an_answer_that_is_published_twice_under_one_id_is_one_answer(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(4 * DAY)
        for _ in range(2):
            s.publish(DIRECTORS_NO, key="R-17", event_id="olafs-answer")
        s.settle()
        assert saga.emitted.count(DirectorRejected) == saga.emitted.count(RequestRejected) == 1
        assert saga.emitted.count(RequestDenied) == 1
        assert [note.kind for note in saga.view.notes if note.kind in ("dropped", "duplicate-differs")] == []
    assert len(mails(services_data)) == 3


def test_r01_a_request_that_is_made_twice_is_one_request(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(2 * DAY)
        assert s.publish(REQUESTED).saga_id == saga.saga_id
        s.settle()
        assert s.now == BEGAN + 10 * DAY, "days are counted from the first time"
        assert saga.emitted.count(Escalated) == saga.emitted.count(RequestDenied) == 1
    assert len(mails(services_data)) == 3


@pytest.mark.parametrize("restarted", [approvals, mailroom], ids=["approvals", "mailroom"])
@pytest.mark.parametrize("days", [0, 1, 2, 3, 9, 10])
def test_r23_a_restart_in_between_changes_nothing(settings, services_data, restarted, days):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(days * DAY)
        s.restart(restarted)
        s.settle()
        assert s.now == BEGAN + 10 * DAY
        assert told(saga) == [ApprovalRequested, ManagerReminded, Escalated, RequestExpired, RequestDenied]
        assert saga.emitted.count(MailSent) == 3
    assert mails(services_data) == ["Still to decide", "Yours to decide", "Denied"]


def test_r23_an_answer_in_the_backlog_wins_over_deadlines_that_fell_due_meanwhile(settings):
    with Scenario(approvals, mailroom, settings=settings) as s:
        saga = s.publish(REQUESTED)
        s.advance(DAY)
        s.hold("decisions", service=approvals)
        s.publish(YES, key="R-17")
        s.restart(approvals)
        s.advance(30 * DAY)
        s.release()
        s.settle()
        assert told(saga) == [ApprovalRequested, ManagerReminded, ManagerApproved, RequestGranted]


def test_r25_years_of_requests_take_no_time(settings, services_data):
    with Scenario(approvals, mailroom, settings=settings) as s:
        sagas = []
        for month in range(60):
            asked = REQUESTED.model_copy(update={"request_id": f"R-{month}"})
            sagas.append(s.publish(asked))
            s.advance(timedelta(days=month % 12))
            s.publish((YES, NO, DIRECTORS_YES)[month % 3], key=f"R-{month}")
            s.advance(30 * DAY)
        s.settle()
        assert {saga.state for saga in sagas} == {SagaState.COMPLETED, SagaState.FAILED}
        assert all(saga.emitted.count(RequestGranted) + saga.emitted.count(RequestDenied) == 1 for saga in sagas)
        assert s.now > BEGAN + timedelta(days=5 * 365)
    assert all(1 <= len(mails(services_data, f"R-{month}")) <= 3 for month in range(60))


# The tutorial.


def blocks():
    return re.findall(r"^```python\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_tutorial_shows_the_code_that_runs():
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.py")))
    shown = [
        part.strip() for block in blocks() if not block.startswith(("from", "with")) for part in block.split("\n\n\n")
    ]
    assert len(shown) == 8
    assert [part for part in shown if part not in source] == []


def test_the_tests_of_the_tutorial_pass(tmp_path):
    [tests] = [block for block in blocks() if "Scenario" in block]
    (tmp_path / "test_tutorial.py").write_text(tests, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "."],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TUTORIAL.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
