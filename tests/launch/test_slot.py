"""Equal processes on one host take a slot each."""

import subprocess
import sys
from pathlib import Path

import pytest

from choreo.errors import ChoreoError
from choreo.launch.slot import claim_slot


def test_slots_are_taken_in_order_and_given_back(tmp_path: Path):
    first, second = claim_slot("shop/orders", directory=tmp_path), claim_slot("shop/orders", directory=tmp_path)
    other = claim_slot("payments", directory=tmp_path)
    assert [first.number, second.number, other.number] == [0, 1, 0]
    assert second.instance.endswith("-1")
    first.release()
    first.release()
    with claim_slot("shop/orders", directory=tmp_path) as again:
        assert again.number == 0
    second.release()
    other.release()


def test_a_slot_is_free_again_when_its_process_is_killed(tmp_path: Path):
    program = (
        "import pathlib, sys; from choreo.launch.slot import claim_slot\n"
        "slot = claim_slot('orders', directory=pathlib.Path(sys.argv[1])); print(slot.number, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=-1, stdout=-1, cwd=root, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "0"
        with claim_slot("orders", directory=tmp_path) as beside:
            assert beside.number == 1
        process.kill()
        process.wait()
    with claim_slot("orders", directory=tmp_path) as after:
        assert after.number == 0


def test_a_place_that_cannot_be_locked_says_what_to_do(tmp_path: Path):
    (tmp_path / "orders-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ChoreoError, match="CHOREO_INSTANCE"):
        claim_slot("orders", directory=tmp_path)


def test_a_process_of_several_services_takes_one_slot_in_all(tmp_path: Path):
    with (
        claim_slot("payments", directory=tmp_path) as alone,
        claim_slot("orders", "payments", directory=tmp_path) as both,
        claim_slot("orders", directory=tmp_path) as after,
    ):
        # Slot 0 of orders was given back when payments turned out to be taken.
        assert (alone.number, both.number, after.number) == (0, 1, 0)
