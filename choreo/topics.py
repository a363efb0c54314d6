"""Which topics services need, and whether those that exist will do.

The list of topics with their settings, the plan to mend them and the checks at start live here; creating them is the
transport's. `choreo topics` and `running` call this before any client joins a group (R39).
"""

from collections.abc import Iterable, Sequence

from choreo.errors import Problem, TopicProblem
from choreo.records import COMMANDS, ENDS, JOURNAL, MANIFESTS, dlq_topic, memory_topic
from choreo.service import Declaration
from choreo.settings import Settings
from choreo.transport import TopicSpec, TopicState, Transport

# A dead letter holds a whole record that was too large for us, and its reasons.
DEAD_LETTER_BYTES_MAX = 20_000_000
_FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1"}
_DEAD_LETTERS = {"cleanup.policy": "delete", "max.message.bytes": str(DEAD_LETTER_BYTES_MAX), "retention.ms": "-1"}
_COMPACT = {"cleanup.policy": "compact"}


def needed(declarations: Iterable[Declaration], settings: Settings) -> list[TopicSpec]:
    """Return every topic that these services read or write, sorted by name."""
    configs: dict[str, dict[str, str]] = {}
    for each in declarations:
        for topic in (*each.topics_in, *each.topics_out):
            configs.setdefault(topic, _FOREVER)
        configs.setdefault(memory_topic(each.name), _COMPACT)
        configs.setdefault(dlq_topic(each.name), _DEAD_LETTERS)
    own = {JOURNAL: _FOREVER, ENDS: _FOREVER, COMMANDS: _FOREVER, MANIFESTS: _COMPACT}
    return [
        TopicSpec(name, 1 if name == MANIFESTS else settings.partitions, settings.replication, config)
        for name, config in sorted((own | configs).items())
    ]


def plan_topics(
    declarations: Sequence[Declaration], transport: Transport, settings: Settings
) -> tuple[list[TopicSpec], list[Problem]]:
    """Return (topics to create, what is wrong with those that exist).

    A new topic takes the partition count that its neighbours have already, so that they agree (R39).

    Raises:
        BrokerUnavailable: If no broker answers.
    """
    specs = needed(declarations, settings)
    existing = transport.describe([spec.name for spec in specs])
    counts = {existing[spec.name].partitions for spec in specs if spec.name in existing and _counted(spec.name)}
    agreed = counts.pop() if len(counts) == 1 else settings.partitions
    missing = [
        spec._replace(partitions=agreed) if _counted(spec.name) else spec for spec in specs if spec.name not in existing
    ]
    return missing, _misfits(specs, existing, settings)


def apply_topics(declarations: Sequence[Declaration], transport: Transport, settings: Settings) -> list[TopicSpec]:
    """Create what is missing and return it.

    Raises:
        TopicProblem: If a topic that exists does not fit; nothing is created then.
        BrokerUnavailable: If no broker answers.
    """
    missing, problems = plan_topics(declarations, transport, settings)
    if problems:
        raise TopicProblem(problems)
    if missing:
        transport.create(missing)
    return missing


def missing_topic(topic: str, fix: str) -> Problem:
    """Return what to tell a person of a topic that is not there."""
    return Problem("CH080", f"topic {topic} does not exist", "", fix)


def check_topics(declarations: Sequence[Declaration], transport: Transport, settings: Settings) -> None:
    """Refuse to start on topics that are missing or do not fit.

    Raises:
        TopicProblem: Naming every one, with what to do.
        BrokerUnavailable: If no broker answers.
    """
    missing, problems = plan_topics(declarations, transport, settings)
    names = " ".join(each.name for each in declarations)
    absent = [
        missing_topic(spec.name, f"run `choreo topics apply` for {names}: it makes {spec.partitions} partitions")
        for spec in missing
    ]
    if problems or absent:
        raise TopicProblem([*problems, *absent])


def _counted(topic: str) -> bool:
    """Whether a topic's partition count must agree with the others'."""
    return topic != MANIFESTS and not topic.endswith(".dlq")


def _misfits(specs: Sequence[TopicSpec], existing: dict[str, TopicState], settings: Settings) -> list[Problem]:
    problems: list[Problem] = []
    counts: dict[int, list[str]] = {}
    for spec in specs:
        if (state := existing.get(spec.name)) is None:
            continue
        if _counted(spec.name):
            counts.setdefault(state.partitions, []).append(spec.name)
        wanted, policy = spec.config["cleanup.policy"], state.config.get("cleanup.policy", "")
        if policy and wanted not in policy.split(","):
            message = f"topic {spec.name} has cleanup.policy={policy}, and choreo needs {wanted}"
            fix = f"kafka-configs.sh --alter --topic {spec.name} --add-config cleanup.policy={wanted}"
            problems.append(Problem("CH082", message, "", fix))
        largest = int(state.config.get("max.message.bytes") or 0)
        if largest and wanted == "delete" and largest < settings.event_bytes_max:
            message = (
                f"topic {spec.name} takes {largest} bytes a record, and event_bytes_max={settings.event_bytes_max}"
            )
            fix = f"raise max.message.bytes of {spec.name}, or lower event_bytes_max"
            problems.append(Problem("CH083", message, "", fix))
    if len(counts) > 1:
        by_count = "; ".join(f"{count}: {', '.join(topics)}" for count, topics in sorted(counts.items()))
        message = f"partition counts differ ({by_count}), so one saga would be spread over several consumers"
        fix = f"while no saga runs: kafka-topics.sh --alter --topic … --partitions {max(counts)}"
        problems.append(Problem("CH081", message, "", fix))
    return problems
