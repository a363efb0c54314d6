import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from choreo.settings import Settings, setting_problems


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CHOREO_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS", "CHOREO_DELIVERY", "CHOREO_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_are_those_of_the_docs():
    settings = Settings()
    assert settings.bootstrap_servers == "localhost:9092"
    assert settings.delivery == "exactly_once"
    assert (settings.batch_max, settings.concurrency_max, settings.waiting_max) == (1000, 64, 1000)
    assert (settings.remember_for, settings.hops_max) == (timedelta(days=7), 100)
    assert settings.kafka_config() == {"bootstrap.servers": "localhost:9092"}


def test_each_place_yields_to_the_one_before(empty_place: Path, monkeypatch: pytest.MonkeyPatch):
    (empty_place / "pyproject.toml").write_text('[tool.choreo]\nbootstrap_servers = "toml:1"\nbatch_max = 7\n')
    assert (Settings().bootstrap_servers, Settings().batch_max) == ("toml:1", 7)
    (empty_place / ".env").write_text("KAFKA_BOOTSTRAP_SERVERS=dotusual:1\nSOMEBODY=else\n")
    assert Settings().bootstrap_servers == "dotusual:1"
    (empty_place / ".env").write_text("KAFKA_BOOTSTRAP_SERVERS=dotusual:1\nCHOREO_BOOTSTRAP_SERVERS=dotown:1\n")
    assert Settings().bootstrap_servers == "dotown:1"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "usual:1")
    assert Settings().bootstrap_servers == "usual:1"
    monkeypatch.setenv("CHOREO_BOOTSTRAP_SERVERS", "own:1")
    assert Settings().bootstrap_servers == "own:1"
    assert Settings(bootstrap_servers="argument:1").bootstrap_servers == "argument:1"
    assert Settings().batch_max == 7


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHOREO_SASL_USERNAME", "")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    assert Settings().kafka_config() == {"bootstrap.servers": "localhost:9092"}


def test_broker_images_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAFKA_LISTENERS", "PLAINTEXT://:9092")
    monkeypatch.setenv("KAFKA_PARTITIONS", "12")
    assert Settings() == Settings(partitions=6)


def test_client_properties_merge_name_by_name(empty_place: Path, monkeypatch: pytest.MonkeyPatch):
    (empty_place / "pyproject.toml").write_text(
        '[tool.choreo.kafka]\nfetch.wait.max.ms = 9\n"linger.ms" = 2\nenable.idempotence = true\n'
    )
    monkeypatch.setenv("CHOREO_KAFKA__FETCH_WAIT_MAX_MS", "5")
    monkeypatch.setenv("CHOREO_KAFKA__LOG_LEVEL", "3")
    settings = Settings(kafka={"socket.timeout.ms": 100})
    assert settings.kafka == {
        "fetch.wait.max.ms": "5",
        "linger.ms": "2",
        "enable.idempotence": "true",
        "log_level": "3",
        "socket.timeout.ms": "100",
    }


def test_brokers_among_the_properties_stand_in_for_the_field(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "usual:1")
    settings = Settings(kafka={"bootstrap.servers": "property:1"})
    assert settings.bootstrap_servers == "property:1"
    assert settings.kafka_config() == {"bootstrap.servers": "property:1"}


def test_security_becomes_client_properties(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "me")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "secret")
    monkeypatch.setenv("KAFKA_SSL_CA_LOCATION", "/ca.pem")
    settings = Settings()
    assert settings.kafka_config() == {
        "bootstrap.servers": "localhost:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "secret",
        "ssl.ca.location": "/ca.pem",
    }
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "span"), [("7d", timedelta(days=7)), ("90 s", timedelta(seconds=90)), ("PT1H", timedelta(hours=1))]
)
def test_spans_read_as_people_write_them(text: str, span: timedelta):
    assert Settings.model_validate({"remember_for": text}).remember_for == span


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("delivery", "twice", "'exactly_once' or 'at_least_once'"),
        ("bootstrap_servers", "a:b:c", "'a:b:c' is not host:port"),
        ("bootstrap_servers", " , ", "name at least one broker"),
        ("batch_max", "0", "greater than or equal to 1"),
        ("remember_for", "soon", "Set it by CHOREO_REMEMBER_FOR"),
        ("instance", "a b", "letters, digits"),
    ],
)
def test_a_bad_value_is_told_readably(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str):
    monkeypatch.setenv(f"CHOREO_{name.upper()}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    (problem,) = setting_problems(caught.value)
    assert said in str(problem)
    assert name in str(problem)


def test_a_misspelt_setting_is_told(empty_place: Path):
    (empty_place / "pyproject.toml").write_text("[tool.choreo]\nbatchmax = 7\n")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "Did you mean batch_max?" in str(setting_problems(caught.value)[0])


def test_the_json_schema_can_be_published():
    schema = Settings.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert all(field.get("description") for field in schema["properties"].values())
    json.dumps(schema)
