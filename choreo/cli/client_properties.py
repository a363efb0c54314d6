"""Java's `client.properties`, for the client that is not Java's.

Reading such a file and translating the names that librdkafka has for its properties, JAAS logins included, live here;
connecting does not. `--command-config` and `-X` call it, so that the file for Kafka's own tools can be used.
"""

import re
from pathlib import Path

import click

_RENAMED = {
    "ssl.truststore.certificates": "ssl.ca.pem",
    "ssl.keystore.key": "ssl.key.pem",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
}
_INSTEAD = {
    "ssl.truststore.location": "ssl.ca.location=FILE.pem (a PEM file; `keytool -exportcert -rfc` writes one)",
    "ssl.truststore.password": "ssl.ca.location=FILE.pem, which needs no password",
    "ssl.truststore.type": "ssl.ca.location=FILE.pem",
    "ssl.keystore.type": "ssl.keystore.location=FILE.p12 (PKCS#12), or ssl.key.location and ssl.certificate.location",
    "sasl.login.callback.handler.class": "sasl.oauthbearer.method=oidc and sasl.oauthbearer.token.endpoint.url",
    "sasl.client.callback.handler.class": "sasl.oauthbearer.method=oidc and sasl.oauthbearer.token.endpoint.url",
}
# Java's serialisation and buffering say nothing about how to connect.
_DROPPED = re.compile(r"(key|value)\.(de)?serializer|default\.api\.timeout\.ms|buffer\.memory|client\.dns\.lookup")
_PKCS12 = "PKCS12"
_LOGIN = re.compile(r"(?:[\w.]*\.)?(Plain|Scram)LoginModule\s+\w+(.*?);?\s*$", re.DOTALL)
_LOGIN_OPTION = re.compile(r"""(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s;]+))""")


def read(path: Path) -> dict[str, str]:
    """Return the properties in a file, by librdkafka's names.

    Raises:
        click.UsageError: If it cannot be read, or one of them has no counterpart.
    """
    # Few have such a file, and loading it takes a twentieth of a second.
    import javaproperties  # noqa: PLC0415

    try:
        properties = javaproperties.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--command-config {path} cannot be read: {error}") from None
    # Java keeps blanks at the end of a line, which are always a slip.
    return translated({name: value.rstrip() for name, value in properties.items()}, str(path))


def translated(properties: dict[str, str], place: str) -> dict[str, str]:
    """Return what librdkafka calls these properties of Java's; its own names pass through. The error names their place.

    Raises:
        click.UsageError: If one has no counterpart; the message names what to say instead.
    """
    result: dict[str, str] = {}
    for name, value in properties.items():
        if name == "sasl.jaas.config":
            result |= _login(value, place)
        elif name == "ssl.endpoint.identification.algorithm":
            # Java says "none" by saying nothing.
            result[name] = value.lower() or "none"
        elif name == "ssl.keystore.type" and value.upper() == _PKCS12:
            continue
        elif name in _INSTEAD:
            raise click.UsageError(f"{place}: {name} is Java's alone. Say instead: {_INSTEAD[name]}")
        elif not _DROPPED.fullmatch(name):
            result[_RENAMED.get(name, name)] = value
    return result


def _login(value: str, place: str) -> dict[str, str]:
    found = _LOGIN.search(value.strip())
    if found is None:
        module = value.split(maxsplit=1)[0].rsplit(".", 1)[-1] if value.split() else "nothing"
        raise click.UsageError(
            f"{place}: sasl.jaas.config is understood for PlainLoginModule and ScramLoginModule, not {module}. "
            "Say instead: sasl.mechanism, sasl.username and sasl.password"
        )
    options = {
        name: re.sub(r"\\(.)", r"\1", double or single or bare)
        for name, double, single, bare in _LOGIN_OPTION.findall(found[2])
    }
    if "username" not in options or "password" not in options:
        raise click.UsageError(f"{place}: sasl.jaas.config lacks username= or password=")
    login = {"sasl.username": options["username"], "sasl.password": options["password"]}
    return ({"sasl.mechanism": "PLAIN"} if found[1] == "Plain" else {}) | login
