"""An insurance claim for several vehicles, each of which needs several parts: branches within branches.

Whether a part can be had is known in its own, inner branch; a vehicle is ready when all of its parts are reserved, and
the claim is settled when all vehicles are. One part that cannot be had counts in the whole claim: the parts of every
vehicle are returned, the vehicles that are ready already included, for nothing is fitted before the claim is settled.
"""

from pydantic import BaseModel, Field

from choreo import Context, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.ledger import Ledger, ledger
from tests.choreographies.piece import COMPLETED, FAILED, Way


class Vehicle(BaseModel):
    plate: str
    parts: list[str] = Field(min_length=1)


CAR, VAN = Vehicle(plate="car", parts=["door", "lamp"]), Vehicle(plate="van", parts=["tyre"])


class ClaimFiled(Fact, topic="claims"):
    vehicles: list[Vehicle] = Field(default=[CAR, VAN], min_length=1)


class VehicleReported(Fact, topic="claims"):
    vehicle: Vehicle


class ClaimSettled(Fact, topic="claims"): ...


class ClaimRejected(Fact, topic="claims"): ...


class PartNeeded(Fact, topic="garages"):
    part: str


class VehicleReady(Fact, topic="garages"): ...


class VehicleGivenUp(Fact, topic="garages"): ...


class PartReserved(Fact, topic="parts"):
    part: str


class PartUnavailable(Refusal, topic="parts"):
    part: str


class PartReturned(Fact, topic="parts"):
    part: str


claims, garages, parts = Service("claims"), Service("garages"), Service("parts")
claims.owns(Saga("claim", starts=ClaimFiled, completes=ClaimSettled, fails=ClaimRejected, key="key"))
parts.provides(ledger)


@claims.handles
def report(filed: ClaimFiled) -> list[VehicleReported]:
    return [VehicleReported.after(filed, vehicle=each) for each in filed.vehicles]


@garages.handles
def inspect(reported: VehicleReported) -> list[PartNeeded]:
    return [PartNeeded.after(reported, part=each) for each in reported.vehicle.parts]


@parts.handles
def reserve(claim: ClaimFiled, needed: PartNeeded, ctx: Context, store: Ledger) -> PartReserved | PartUnavailable:
    if needed.part in claim.no or not store.take(ctx.idempotency_key, claim.key):
        return PartUnavailable.after(claim, part=needed.part)
    return PartReserved.after(claim, part=needed.part)


@parts.compensates
def give_back(
    _cause: PartUnavailable, _reserved: PartReserved | None, needed: PartNeeded, ctx: Context, store: Ledger
) -> PartReturned:
    store.give_back(ctx.undoes_key)
    return PartReturned.after(needed, part=needed.part)


@garages.handles
def prepare(reserved: list[PartReserved]) -> VehicleReady:
    return VehicleReady.after(reserved[0])


@garages.handles
def give_up(undone: list[PartReturned | PartUnavailable]) -> VehicleGivenUp:
    return VehicleGivenUp.after(undone[0])


@claims.handles
def settle(ready: list[VehicleReady]) -> ClaimSettled:
    return ClaimSettled.after(ready[0])


@claims.handles
def reject(given_up: list[VehicleGivenUp]) -> ClaimRejected:
    return ClaimRejected.after(given_up[0])


SERVICES = (claims, garages, parts)
STARTS = ClaimFiled
_REPORTED = "VehicleReported VehicleReported PartNeeded PartNeeded PartNeeded"
_REJECTED = "PartReturned PartReturned VehicleGivenUp VehicleGivenUp ClaimRejected"
WAYS = {
    "two vehicles": Way(
        COMPLETED,
        f"{_REPORTED} PartReserved PartReserved PartReserved VehicleReady VehicleReady ClaimSettled",
        {"parts": 3},
    ),
    "one part": Way(
        COMPLETED,
        "VehicleReported PartNeeded PartReserved VehicleReady ClaimSettled",
        {"parts": 1},
        start={"vehicles": [VAN]},
    ),
    "a part of two": Way(FAILED, f"{_REPORTED} PartReserved PartUnavailable {_REJECTED}", no=("lamp",)),
    "a vehicle's only part": Way(
        FAILED,
        f"{_REPORTED} PartReserved PartReserved PartUnavailable VehicleReady VehicleGivenUp "
        "PartReturned PartReturned VehicleGivenUp ClaimRejected",
        no=("tyre",),
    ),
    "a part of each": Way(FAILED, f"{_REPORTED} PartUnavailable {_REJECTED}", no=("door", "tyre")),
    "no part at all": Way(FAILED, f"{_REPORTED} PartUnavailable {_REJECTED}", no=("door", "lamp", "tyre")),
}
