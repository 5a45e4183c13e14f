"""The command ``aot-plus`` and what its tools have in common."""

import subprocess
import sys

import pytest

from aot_plus import __version__
from aot_plus.tools import cli


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_the_tools_and_each_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    page = capsys.readouterr().out
    for name, (_, about) in cli.TOOLS.items():
        assert name in page
        assert about in page


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == f"aot-plus {__version__}"


def test_unknown_tool_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["make_mini_vost", "--out", "there"])
    assert ended.value.code == 2
    assert "make-mini-vost" in capsys.readouterr().err


def test_exit_code_and_arguments_are_the_tools(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["metric", "--results_path", "/no/results", "--dataset_path", "/no/dataset"]) == 1
    assert "/no/dataset" in capsys.readouterr().err


_SAY_TORCH = """
import sys
from aot_plus.tools.cli import main
try:
    main([{tool!r}, "--help"])
finally:
    print("torch" in sys.modules)
"""


@pytest.mark.parametrize("tool", cli.TOOLS)
def test_help_says_how_it_was_called_and_imports_no_torch(tool: str) -> None:
    done = _run("-c", _SAY_TORCH.format(tool=tool))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: aot-plus {tool} ")
    assert done.stdout.splitlines()[-1] == "False"


def test_a_module_is_the_command_too() -> None:
    assert "python -m aot_plus report" in _run("-m", "aot_plus", "report", "--help").stdout
    assert "python -m aot_plus.tools.report" in _run("-m", "aot_plus.tools.report", "--help").stdout
