"""The fuzzer, shortly; `make fuzz` is the long one."""

import pytest

from tests.fuzz.rounds import BATCH, Fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_r29_damaged_records_of_every_topic_crash_nothing_and_are_accounted_for(seed: int):
    fuzz = Fuzz(seed)
    counts = fuzz.run(6 * BATCH)
    assert counts["records"] == 6 * BATCH
    assert counts["dead-lettered"] > BATCH
    for reason in ("missing-id", "unknown-type", "unknown-fingerprint", "key-mismatch", "undecodable"):
        assert fuzz.engine.counts[f"dead-lettered:{reason}"], reason
    assert fuzz.tracker.lag().undecodable


def test_the_fuzzer_notices_a_record_that_is_lost(monkeypatch: pytest.MonkeyPatch):
    fuzz = Fuzz(1)
    original = fuzz.codec.read

    def careless(record):
        return original(record) if dict(record.headers).get("ce_id") else None

    monkeypatch.setattr(fuzz.codec, "read", careless)
    with pytest.raises(AssertionError, match="not accounted for"):
        fuzz.run(BATCH)
