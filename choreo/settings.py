"""Settings: the only reader of `CHOREO_*` and `KAFKA_*`.

What can be set and where each value comes from live here; what the values do does not. The command line, `launch` and
the publisher make one `Settings` and hand it down to everything below.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from choreo.errors import ChoreoError, Problem, guess

PREFIX = "CHOREO_"

# Settings that are client properties, and have a usual KAFKA_* name. Never all of KAFKA_*: broker images configure
# themselves by that prefix.
_CONNECTION = (
    "bootstrap_servers",
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "ssl_ca_location",
)
# librdkafka joins the words of a property by dots, but for these.
_UNDERSCORED = frozenset({"log_level", "ssl_ca", "ssl_certificate", "ssl_key"})
_SERVER = re.compile(r"(?:\w+://)?(?:\[[0-9a-fA-F:]+\]|[\w.-]+)(?::(\d{1,5}))?")
_PORT_MAX = 65_535
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SPAN_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_span(value: object) -> object:
    """Read `7d` or `90s`; leave the forms that pydantic reads to pydantic."""
    if isinstance(value, str) and (span := _SPAN.fullmatch(value.strip().lower())):
        return timedelta(**{_SPAN_UNITS[span[2]]: float(span[1])})
    return value


def _properties(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Name client properties as the client does, whatever way they were written.

    An environment variable cannot hold dots, and TOML reads unquoted dots as tables; both become dotted names here.
    """
    properties: dict[str, str] = {}
    for key, entry in value.items():
        name = prefix + str(key).lower()
        if "." not in name and name not in _UNDERSCORED:
            name = name.replace("_", ".")
        if isinstance(entry, Mapping):
            properties |= _properties(entry, f"{name}.")
        else:
            properties[name] = str(entry).lower() if isinstance(entry, bool) else str(entry)
    return properties


class Settings(BaseSettings):
    """Everything that can be set.

    The first of these places that has a value wins:

    1. arguments;
    2. `CHOREO_*` in the environment;
    3. the usual `KAFKA_*` names there;
    4. the same two in `.env`, in the current directory;
    5. `[tool.choreo]` in its `pyproject.toml`.

    Client properties are merged name by name over all places: `CHOREO_KAFKA__FETCH_WAIT_MAX_MS=5` sets
    `fetch.wait.max.ms`.

    Raises:
        pydantic.ValidationError: If a value is not allowed; `setting_problems` names each, with a fix.
        ChoreoError: If `pyproject.toml` is not TOML.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        title="choreo settings",
    )

    bootstrap_servers: str = "localhost:9092"
    """Brokers to ask first: `host:port`, several joined by commas."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None = None
    """Protocol to the brokers; plain text unless set."""
    sasl_mechanism: str | None = None
    """`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER` or `GSSAPI`."""
    sasl_username: str | None = None
    """User name for SASL."""
    sasl_password: SecretStr | None = None
    """Password for SASL; never shown."""
    ssl_ca_location: str | None = None
    """File or directory of the certificates that the brokers' own are checked against."""
    kafka: dict[str, str] = Field(default_factory=dict)
    """Further client properties, as librdkafka names them; they win over what choreo chooses."""

    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """One Kafka transaction a batch; or none, and a record may be published twice with the same id."""
    instance: str = ""
    """Stable identity of this process in its groups; `<hostname>-<slot>`, the first free slot on the host, if empty."""
    batch_max: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Most records in one batch, which is one transaction."""
    concurrency_max: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Most handlers that run side by side in one process."""
    waiting_max: Annotated[int, Field(ge=1)] = 1000
    """Most events of one saga that wait for joins in one service."""
    remember_for: Annotated[timedelta, BeforeValidator(read_span), Field(gt=timedelta(0))] = timedelta(days=7)
    """How long a service remembers a saga after its end: `7d`, `12h`, seconds or ISO 8601."""
    hops_max: Annotated[int, Field(ge=1)] = 100
    """Most events from the start to a step; a step beyond is parked, so that no loop is endless."""
    event_bytes_max: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    """Largest event, headers included; checked before anything is sent."""
    partitions: Annotated[int, Field(ge=1, le=100_000)] = 6
    """Partitions of the topics that `choreo topics apply` creates."""
    replication: Annotated[int, Field(ge=1, le=100)] = 1
    """Copies of those topics that the brokers keep."""
    publish_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds in which the brokers must acknowledge what a publisher sends."""
    batch_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 240.0
    """Seconds after which a process whose batch is still in flight ends itself, so that another takes over."""
    store: str = "sqlite:///tracker.db"
    """Where the tracker keeps what it has read, and where `choreo sagas` looks."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level of log lines that are written."""
    drain_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds in which work in flight must finish after a SIGTERM."""

    @field_validator("bootstrap_servers", mode="before")
    @classmethod
    def _join_servers(cls, value: object) -> object:
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else value

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_servers(cls, value: str) -> str:
        servers = [server.strip() for server in value.split(",") if server.strip()]
        for server in servers:
            address = _SERVER.fullmatch(server)
            if address is None or not 0 < int(address[1] or 1) <= _PORT_MAX:
                raise ValueError(f"{server!r} is not host:port")
        if not servers:
            raise ValueError("name at least one broker as host:port")
        return ",".join(servers)

    @field_validator("security_protocol", "log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("instance")
    @classmethod
    def _check_instance(cls, value: str) -> str:
        # It becomes part of group.instance.id and transactional.id; the first is what limits the characters.
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,200}", value):
            raise ValueError("use letters, digits, dots, hyphens and underscores only, at most 200")
        return value

    def kafka_config(self) -> dict[str, str]:
        """Return the client properties that reach the brokers: addresses, security, then `kafka` over them."""
        named = {name.replace("_", "."): getattr(self, name) for name in _CONNECTION}
        if self.sasl_password is not None:
            named["sasl.password"] = self.sasl_password.get_secret_value()
        return {name: value for name, value in named.items() if value is not None} | self.kafka

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (it reads one name a field)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (it would refuse the file's other names)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (not one of choreo's places)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the places in their order."""
        return (
            _SettingsPlace(settings_cls, init_settings),
            _SettingsPlace(settings_cls, lambda: _own_names(os.environ)),
            _SettingsPlace(settings_cls, lambda: _usual_names(os.environ)),
            _SettingsPlace(settings_cls, lambda: _own_names(_dotenv())),
            _SettingsPlace(settings_cls, lambda: _usual_names(_dotenv())),
            _SettingsPlace(settings_cls, _pyproject),
        )


class _SettingsPlace(PydanticBaseSettingsSource):
    """One place that settings come from; its client properties are named alike before places are merged."""

    def __init__(self, settings_cls: type[BaseSettings], read: Callable[[], dict[str, Any]]) -> None:
        super().__init__(settings_cls)
        self._read = read

    def get_field_value(self, field: object, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return nothing: a place is read whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        values = dict(self._read())
        if isinstance(values.get("kafka"), Mapping):
            properties = _properties(values["kafka"])
            # One answer to which brokers: the property stands in for the field within its place.
            servers = properties.pop("bootstrap.servers", None)
            values = ({} if servers is None else {"bootstrap_servers": servers}) | values | {"kafka": properties}
        return values


def _dotenv() -> dict[str, str]:
    path = Path(".env")
    return {name: value for name, value in dotenv_values(path).items() if value} if path.is_file() else {}


def _pyproject() -> dict[str, Any]:
    path = Path("pyproject.toml")
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("choreo", {})
    except tomllib.TOMLDecodeError as error:
        raise ChoreoError(f"{path.resolve()} is not TOML: {error}") from error
    return dict(table)


def _own_names(variables: Mapping[str, str]) -> dict[str, Any]:
    """Read `CHOREO_*`. An empty variable says nothing, as Compose passes on what is not set."""
    values: dict[str, Any] = {}
    properties: dict[str, str] = {}
    for variable, value in variables.items():
        name = variable.upper().removeprefix(PREFIX).lower()
        if not value or not variable.upper().startswith(PREFIX):
            continue
        if name.startswith("kafka__"):
            properties[name.removeprefix("kafka__").replace("__", ".")] = value
        elif name != "kafka" and name in Settings.model_fields:
            values[name] = value
    return values | ({"kafka": properties} if properties else {})


def _usual_names(variables: Mapping[str, str]) -> dict[str, Any]:
    return {field: value for field in _CONNECTION if (value := variables.get(f"KAFKA_{field.upper()}"))}


def setting_problems(error: ValidationError) -> list[Problem]:
    """Say for people what making a `Settings` found wrong: one problem a value, and where it can be set."""
    problems = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(str(part) for part in detail["loc"]) or "settings"
        if detail["type"] == "extra_forbidden":
            fix = guess(name, Settings.model_fields, f"There are: {', '.join(Settings.model_fields)}.")
            problems.append(Problem("CH901", f"There is no setting {name}.", "", fix))
            continue
        text = detail["msg"].removeprefix("Value error, ")
        variable = PREFIX + name.upper().replace(".", "__", 1).replace(".", "_")
        problems.append(Problem("CH902", f"The setting {name} cannot be that: {text}.", "", f"Set it by {variable}."))
    return problems
