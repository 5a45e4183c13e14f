"""The notebook runs as it is, and its outputs are stored in it."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def _kinds(cell: NotebookNode) -> list[list[str]]:
    """Returns the kinds of a cell's outputs, without warnings, which differ from machine to machine."""
    outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return [sorted(output.get("data", {"text": ""})) for output in outputs]


def test_the_notebook_runs_and_gives_what_is_stored() -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)
    run = nbformat.read(NOTEBOOK, as_version=4)
    kernel = {"metadata": {"path": str(ROOT)}}
    NotebookClient(run, timeout=600, kernel_name="python3", resources=kernel).execute()
    cells = [(old, new) for old, new in zip(stored.cells, run.cells, strict=True) if old.cell_type == "code"]
    assert [old.execution_count for old, _ in cells] == list(range(1, len(cells) + 1))
    assert [_kinds(old) for old, _ in cells] == [_kinds(new) for _, new in cells]
    pictures = [kinds for old, _ in cells for kinds in _kinds(old) if "image/jpeg" in kinds]
    assert len(pictures) == 2
    assert NOTEBOOK.stat().st_size < 300_000
