from pathlib import Path

import click
import pytest

from choreo.cli.client_properties import read, translated


def test_a_file_reads_as_java_reads_it(tmp_path: Path):
    text = (
        "# a comment\n! another\n\nbootstrap.servers = a:1,\\\n    b:2\nsecurity.protocol:SASL_SSL\n"
        "sasl.mechanism PLAIN\nempty=\nescaped=C:\\\\keys\\u0041\nlast=one\\\n"
    )
    file = tmp_path / "client.properties"
    file.write_text(text)
    assert read(file) == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "empty": "",
        "escaped": "C:\\keysA",
        "last": "one",
    }


def test_a_plain_login_becomes_name_and_password():
    jaas = (
        'org.apache.kafka.common.security.plain.PlainLoginModule required username="me" password="a \\"quoted\\" one";'
    )
    assert translated({"sasl.jaas.config": jaas}, "file") == {
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": 'a "quoted" one',
    }


def test_a_scram_login_leaves_the_mechanism_to_its_property():
    jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required username='me' password=word;"
    properties = translated({"sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": jaas}, "file")
    assert properties == {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "me", "sasl.password": "word"}


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("ssl.truststore.location", "/store.jks", "ssl.ca.location"),
        ("sasl.jaas.config", "com.sun.security.auth.module.Krb5LoginModule required;", "not Krb5LoginModule"),
        ("sasl.jaas.config", "", "not nothing"),
        ("sasl.jaas.config", "a.PlainLoginModule required username=me;", "password="),
    ],
)
def test_what_is_javas_alone_is_refused_with_what_to_say_instead(name: str, value: str, instead: str):
    with pytest.raises(click.UsageError, match=instead):
        translated({name: value}, "client.properties")


def test_what_says_nothing_about_connecting_is_passed_over():
    given = {
        "key.deserializer": "X",
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": "me.p12",
        "ssl.endpoint.identification.algorithm": "",
        "ssl.keystore.key": "PEM",
    }
    assert translated(given, "file") == {
        "ssl.keystore.location": "me.p12",
        "ssl.endpoint.identification.algorithm": "none",
        "ssl.key.pem": "PEM",
    }
