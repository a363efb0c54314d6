import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from choreo.cli import main
from choreo.cli.dead_letters import DeadLetter, LetterPosition, dump, read
from choreo.errors import UndecodableRecord
from choreo.event import saga_id_for
from choreo.records import dead_letter
from choreo.saga import SagaState
from choreo.transport import Outgoing, Record, TopicSpec
from tests.cli.desk import Desk

Choreo = Callable[..., Result]
OpenDesk = Callable[..., Desk]
WHO = ("--actor", "ada", "--reason", "the schema is announced now")
SAGA = saga_id_for("ask", "a-1")
BAD = Record("asks", 0, 41, SAGA.encode(), b"\xc3\x01\x1bbad", [("ce_id", b"e-1"), ("ce_type", b"asks.Asked")], 0)


def bury(opened: Desk, *records: Record, reason: str = "undecodable", ago: timedelta = timedelta(0)) -> None:
    error = UndecodableRecord(reason, "it is\nof no use")
    opened.broker.write([dead_letter(each, "desk", error, datetime.now(UTC) - ago) for each in records])


def letters(choreo: Choreo, *flags: str) -> list[dict[str, Any]]:
    result = choreo("dlq", "list", "desk", *flags, "--json")
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["items"])


def notes(opened: Desk, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(each.value or b"") for each in opened.records("choreo.journal")]
    return [each for each in found if each["note"] == kind]


def an_ask(opened: Desk) -> Record:
    """Return the start of a saga that went all its way, on brokers that know nothing of it."""
    (saga,) = opened.ask("a-1")
    (record,) = (each for each in opened.records("asks") if each.key == saga.encode())
    return record


def test_list_shows_where_each_was_and_why(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, BAD, BAD._replace(key=None, offset=42, value=None))
    bury(opened, BAD, reason="unknown-type")
    result = choreo("dlq", "list", "desk")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["position", "was", "at", "reason", "failed", "at", "key", "error"]
    assert len(lines) == 4
    assert sum("asks 0:41" in line and SAGA in line for line in lines) == 2
    assert "undecodable: it is\\nof no use" in result.stdout
    assert result.stderr == "3 dead letters\n"


def test_list_filters_and_is_bounded(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, BAD, BAD._replace(offset=42))
    bury(opened, BAD._replace(offset=43), reason="unknown-type")
    assert [each["offset"] for each in letters(choreo, "--why", "unknown-type")] == [43]
    assert len(letters(choreo, "-n", "1")) == 1
    assert "1 of 3 dead letters" in choreo("dlq", "list", "desk", "-n", "1").stderr
    assert letters(choreo, "--why", "oversized") == []
    (letter,) = letters(choreo, "--why", "unknown-type")
    assert (letter["topic"], letter["partition"], letter["key"]) == ("asks", 0, SAGA)
    assert (letter["event_id"], letter["event_type"], letter["attempts"]) == ("e-1", "asks.Asked", 1)


def test_show_tells_all_headers_and_dumps_the_value(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, BAD._replace(value=BAD.value * 200, headers=[*BAD.headers, ("odd", b"\xff\x1b[2J")]))
    (position,) = (each["position"] for each in letters(choreo))
    told = choreo("dlq", "show", "desk", position).stdout
    assert told.startswith(f"desk.dlq {position}  undecodable\n")
    assert "was at     asks 0:41" in told
    assert "  ce_id: e-1\n" in told
    assert "  odd: \\xff\\x1b[2J\n" in told
    assert "  choreo_dlq_attempts: 1\n" in told
    assert "value of 1,200 bytes, the first 512 here" in told
    assert "  00000000  c3 01 1b 62 61 64 c3 01  1b 62 61 64 c3 01 1b 62  |...bad...bad...b|\n" in told
    assert len(told.splitlines()[-1]) < 90


def test_show_writes_the_bytes_as_they_are(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, BAD)
    position = letters(choreo)[0]["position"]
    assert choreo("dlq", "show", "desk", position, "--raw").stdout_bytes == BAD.value
    shown = json.loads(choreo("dlq", "show", "desk", position, "--json").stdout)
    assert base64.b64decode(shown["value_base64"]) == BAD.value
    assert ["ce_type", "asks.Asked"] in shown["headers"]
    assert choreo("dlq", "show", "desk", position, "--json", "--raw").exit_code == 2


def test_show_tells_a_record_without_a_value(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, BAD._replace(value=None, key=None))
    position = letters(choreo)[0]["position"]
    told = choreo("dlq", "show", "desk", position).stdout
    assert "key        (none)" in told
    assert told.endswith("no value\n")
    assert choreo("dlq", "show", "desk", position, "--raw").stdout_bytes == b""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("list", "dsek"), 1, "There is no topic dsek.dlq"),
        (("show", "desk", "0:99"), 1, "desk.dlq holds no record at 0:99"),
        (("show", "desk", "99:0"), 1, "desk.dlq holds no record at 99:0"),
        (("show", "desk", "17"), 2, "17 is not partition:offset"),
        (("redrive", "desk", *WHO, "--yes"), 2, "Say which dead letters"),
        (("redrive", "desk", "0:0", "--all", *WHO, "--yes"), 2, "Say which dead letters"),
        (("redrive", "desk", "0:0", "--why", "x", *WHO, "--yes"), 2, "Say which dead letters"),
        (("redrive", "desk", "0:99", *WHO, "--yes"), 1, "desk.dlq holds no record at 0:99"),
        (("redrive", "desk", "--why", "oversized", *WHO, "--yes"), 1, "There is no such dead letter"),
        (("redrive", "desk", "--all", "--yes"), 2, "--actor"),
        (("redrive", "desk", "--all", *WHO), 2, "Say --yes to do it"),
    ],
)
def test_what_cannot_be_is_told(desk: OpenDesk, choreo: Choreo, arguments: tuple[str, ...], code: int, said: str):
    opened = desk()
    bury(opened, BAD)
    result = choreo("dlq", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert opened.records("asks") == []


def test_r29_redrive_sends_the_very_record_and_notes_who_did_it(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    headers = [*BAD.headers, ("ce_sagatype", b"ask"), ("empty", None)]
    bury(opened, BAD._replace(headers=headers))
    result = choreo("dlq", "redrive", "desk", "--all", *WHO, "--yes", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["event_id"] == "e-1"
    assert "redrive 1 dead letter of desk" in result.stderr
    assert "1 dead letter sent." in result.stderr
    (record,) = opened.records("asks")
    assert (record.key, record.value, record.headers) == (BAD.key, BAD.value, headers)
    (note,) = notes(opened, "redriven")
    assert (note["saga_id"], note["saga_type"], note["service"]) == (SAGA, "ask", "desk")
    assert (note["actor"], note["reason"], note["event_id"]) == ("ada", "the schema is announced now", "e-1")
    assert note["error"] == "undecodable: it is\\nof no use"


def test_r29_redriven_twice_an_event_counts_once(desk: OpenDesk, choreo: Choreo, tmp_path: Any):
    with Desk(tmp_path / "elsewhere.db") as elsewhere:
        start = an_ask(elsewhere)
    opened = desk()
    bury(opened, start, reason="unknown-fingerprint")
    for _ in range(2):
        assert choreo("dlq", "redrive", "desk", "--why", "unknown-fingerprint", *WHO, "--yes").exit_code == 0
        opened.work()
    assert opened.scenario.saga(SAGA).state is SagaState.COMPLETED
    assert len(opened.records("asks")) == 2
    assert sorted(opened.kinds(SAGA)) == ["Answered", "Asked", "Filed", "Noted"]
    assert len(notes(opened, "redriven")) == 2
    told = choreo("parked", "show", SAGA).stdout
    assert told.count("redriven") == 2


def test_r29_a_record_that_is_bad_for_good_is_set_aside_again(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    opened.ask("a-1")
    bury(opened, BAD)
    position = letters(choreo)[0]["position"]
    for count in (1, 2):
        assert choreo("dlq", "redrive", "desk", position, *WHO, "--yes").exit_code == 0
        opened.work()
        again = letters(choreo)
        assert len(again) == 1 + count
        assert len({json.dumps([each["key"], each["event_id"]]) for each in again}) == 1
    headers = json.loads(choreo("dlq", "show", "desk", again[0]["position"], "--json").stdout)["headers"]
    assert sum(name == "choreo_dlq_topic" for name, _ in headers) == 1
    assert opened.scenario.saga(SAGA).state is SagaState.COMPLETED


def test_a_dry_run_shows_a_sample_and_sends_nothing(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, *(BAD._replace(offset=offset) for offset in range(12)))
    result = choreo("dlq", "redrive", "desk", "--all", *WHO, "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("redrive 12 dead letters of desk", "  and 2 more", 12)
    assert " to asks: undecodable: it is" in lines[1]
    assert opened.records("asks") == []


def test_a_letter_that_is_older_than_memory_is_warned_of(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, BAD, ago=timedelta(days=8))
    bury(opened, BAD._replace(offset=42))
    told = choreo("dlq", "redrive", "desk", "--all", *WHO, "--dry-run").stderr
    assert "Older than remember_for (7 d): 1. " in told


def test_a_record_without_a_saga_goes_back_without_a_note(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, BAD._replace(key=b"\xff"), BAD._replace(key=None), BAD._replace(key=SAGA.upper().encode()))
    assert choreo("dlq", "redrive", "desk", "--all", *WHO, "--yes").exit_code == 0
    assert sorted(str(each.key) for each in opened.records("asks")) == sorted(
        str(key) for key in (b"\xff", None, SAGA.upper().encode())
    )
    assert notes(opened, "redriven") == []


def test_a_record_that_nobody_knows_the_topic_of_stays(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    opened.broker.write([Outgoing("desk.dlq", b"k", b"by hand", [])])
    result = choreo("dlq", "redrive", "desk", "--all", *WHO, "--yes")
    assert result.exit_code == 1
    assert "Left alone, for they do not say which topic they were in: 1" in result.stderr
    bury(opened, BAD)
    result = choreo("dlq", "redrive", "desk", "--all", *WHO, "--yes")
    assert result.exit_code == 0, result.output
    assert "Left alone, for they do not say which topic they were in: 1" in result.stderr
    assert [each.value for each in opened.records("asks")] == [BAD.value]


def test_a_topic_that_is_gone_is_told_before_anything_is_sent(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    bury(opened, BAD, BAD._replace(topic="gone"))
    result = choreo("dlq", "redrive", "desk", "--all", *WHO, "--yes")
    assert result.exit_code == 1
    assert "CH080 topic gone does not exist" in result.stderr
    assert opened.records("asks") == []


def test_places_are_read_where_they_are_and_nothing_else(desk: OpenDesk):
    broker = desk().broker
    broker.create([TopicSpec("old.dlq", 2)])
    broker.write([Outgoing("old.dlq", None, str(number).encode(), [], number % 2) for number in range(10)])

    def values(*places: LetterPosition) -> list[bytes | None]:
        return sorted((each.value for each in read(broker, "old.dlq", places)), key=str)

    assert values(LetterPosition(0, 1)) == [b"2"]
    assert values(LetterPosition(0, 4), LetterPosition(1, 0), LetterPosition(0, 0)) == [b"0", b"1", b"8"]
    assert values(LetterPosition(0, 5), LetterPosition(2, 0)) == []
    assert len(list(read(broker, "old.dlq"))) == 10


def test_a_letter_is_read_as_far_as_it_says_anything():
    letter = DeadLetter.of(
        Record("x.dlq", 1, 2, None, None, [("choreo_dlq_offset", b"many"), ("choreo_dlq_topic", None)], 5)
    )
    assert letter.plain() | {"position": "1:2", "offset": None, "topic": "", "key": None} == letter.plain()
    assert letter.failed_before(datetime(1970, 1, 2, tzinfo=UTC))


def test_a_dump_is_as_long_as_it_may_be():
    assert list(dump(b"A\n\xff", 512)) == [f"00000000  {'41 0a ff':<23}  {'':<23}  |A..|"]
    assert len(list(dump(b"x" * 40, 17))) == 2


def test_help_says_what_is_safe():
    told = CliRunner().invoke(main, ["dlq", "redrive", "--help"]).stdout
    assert "safe to do twice" in " ".join(told.split())
