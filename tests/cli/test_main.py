import subprocess
import sys

import pytest
from click.testing import CliRunner

from choreo.cli import main


def test_help_lists_every_command_and_loads_none():
    program = (
        "import sys\nfrom choreo.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pydantic', 'rich', 'confluent_kafka', 'fastavro', 'asyncio'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "heavy: []" in told
    for name in ("demo", "run", "topics", "publish", "describe", "schema", "track", "sagas", "parked", "dlq", "events"):
        assert f"  {name} " in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["topics"],
        ["schema"],
        ["sagas"],
        ["parked"],
        ["dlq"],
        ["events"],
        *([each] for each in ("run", "publish", "track")),
    ],
)
def test_every_command_has_help(arguments: list[str]):
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_misspelt_command_is_suggested():
    result = CliRunner().invoke(main, ["sags"])
    assert result.exit_code == 2
    assert "Did you mean sagas?" in result.stderr


def test_the_version_is_printed():
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("choreo ")
