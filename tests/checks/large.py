"""A large choreography that is right: as many services as are asked for, with twenty handlers each."""

from choreo.manifest import EmissionManifest, EventManifest, HandlerManifest, Manifest, SagaManifest
from tests.checks.graphs import outcome

STEPS = 4


def large(services: int, chain: int) -> list[Manifest]:
    """Return services that hand sagas on from one to the next, a saga type for each `chain` of them.

    Each does four steps one after the other and undoes them in reverse, also where an address that is checked meanwhile
    is refused. It opens branches and gathers them, joins all that, keeps time and tells people.
    """
    return [
        _service(number, number % chain, min(chain, services - number + number % chain)) for number in range(services)
    ]


def _service(number: int, at: int, of: int) -> Manifest:
    own, following = f"s{number}", f"s{number + 1}"
    first, last = at == 0, at == of - 1
    handlers = [*_doing(own, following, last=last), *_undoing(own, following, last=last), *_beside(own)]
    after = f"{own}.Done" if last else f"{following}.Entered"
    handlers.append(_handler("join", [[f"{own}.D3"], [f"{own}.Checked"], [f"{own}.Parts"]], outcome(after)))
    handlers.append(_handler("slow", [[f"{own}.Entered"]], outcome(f"{own}.Slow"), kind="deadline", awaits=[after]))
    owner = f"s{number - at}"
    sagas: list[SagaManifest] = []
    if first:
        end = f"s{number + of - 1}.Done"
        handlers.append(_handler("complete", [[end]], outcome(f"{own}.Completed")))
        handlers.append(_handler("fail", [[f"{own}.N0", f"{own}.U0"]], outcome(f"{own}.Failed")))
        sagas.append(
            SagaManifest(
                name=own, starts=f"{own}.Entered", completes=[f"{own}.Completed"], fails=[f"{own}.Failed"], key="id"
            )
        )
    names = {name for each in handlers for name in (*each.emits, *each.causes, *(n for t in each.waits_for for n in t))}
    return Manifest(
        service=own,
        service_version=owner,
        handlers=handlers,
        sagas=sagas,
        events={name: _event(name) for name in names},
    )


def _doing(own: str, following: str, *, last: bool) -> list[HandlerManifest]:
    doing = [
        _handler(
            f"do{n}",
            [[f"{own}.D{n - 1}" if n else f"{own}.Entered"]],
            outcome(f"{own}.D{n}"),
            outcome(f"{own}.N{n}"),
            uses=["Gateway"],
        )
        for n in range(STEPS)
    ]
    return [*doing, _handler("check", [[f"{own}.Entered"]], outcome(f"{own}.Checked"), outcome(f"{own}.Refused"))]


def _undoing(own: str, following: str, *, last: bool) -> list[HandlerManifest]:
    def causes(n: int) -> list[str]:
        if n < STEPS - 1:
            return [f"{own}.N{n + 1}", f"{own}.U{n + 1}"]
        return [f"{own}.Refused", *([] if last else [f"{following}.N0", f"{following}.U0"])]

    return [
        _handler(
            f"undo{n}",
            [],
            outcome(f"{own}.U{n}"),
            kind="compensation",
            causes=causes(n),
            original=[f"{own}.D{n}"],
            original_optional=True,
            uses=["Gateway"],
        )
        for n in range(STEPS)
    ]


def _beside(own: str) -> list[HandlerManifest]:
    telling = [
        _handler(f"tell{n}", [[f"{own}.D{n}"]], outcome(f"{own}.Told{n}"), unless=[f"{own}.Refused"])
        for n in range(STEPS)
    ]
    return [
        *telling,
        _handler("split", [[f"{own}.D0"]], outcome(f"{own}.Part", opens=True), fan_out=True),
        _handler("part", [[f"{own}.Part"]], outcome(f"{own}.PartDone")),
        _handler("gather", [[f"{own}.PartDone"]], outcome(f"{own}.Parts"), fan_in=True, gathers=0),
        _handler("alert", [[f"{own}.Slow"]], outcome(f"{own}.Alerted")),
    ]


def _handler(
    name: str, waits_for: list[list[str]], *outcomes: list[EmissionManifest], **fields: object
) -> HandlerManifest:
    emits = [name for each in outcomes for emission in each for name in emission.types]
    return HandlerManifest.model_validate(
        {"name": name, "waits_for": waits_for, "emits": emits, "outcomes": list(outcomes), **fields}
    )


def _event(name: str) -> EventManifest:
    service, _, kind = name.partition(".")
    return EventManifest(topic=service, failure=kind[0] == "N" or kind == "Refused")
