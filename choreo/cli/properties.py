"""Java's `client.properties`, for the client that is not Java's.

Reading the file and translating what librdkafka calls otherwise, JAAS logins among it, live here; connecting does
not. `--command-config` takes such a file, so that the one for Kafka's own tools can be used.
"""

import re

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
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse(text: str) -> dict[str, str]:
    """Return the properties of a Java properties file: comments, continued lines and escapes as Java reads them."""
    properties: dict[str, str] = {}
    logical = ""
    for physical in text.splitlines():
        line = logical + physical.lstrip()
        if not logical and (not line or line[0] in "#!"):
            continue
        if (len(line) - len(line.rstrip("\\"))) % 2:
            logical = line[:-1]
            continue
        logical = ""
        name, value = _split(line)
        properties[name] = value
    if logical:
        name, value = _split(logical)
        properties[name] = value
    return properties


def _split(line: str) -> tuple[str, str]:
    found = re.match(r"((?:\\.|[^\\=:\s])*)\s*[=:]?\s*(.*)", line, re.DOTALL)
    assert found is not None
    return _unescaped(found[1]), _unescaped(found[2]).rstrip()


def _unescaped(text: str) -> str:
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text)


def translated(properties: dict[str, str], place: str) -> dict[str, str]:
    """Return what librdkafka calls these properties.

    Args:
        properties: As Java calls them; librdkafka's own names pass through.
        place: Where they were read, for the error.

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
