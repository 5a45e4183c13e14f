"""The documentation's links work, its code runs, and its numbers and messages match the code."""

import ast
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aot_plus.dataloaders.video_file import VideoFile
from aot_plus.networks.memory.gap import memory_gap
from aot_plus.networks.memory.policies import POLICIES
from aot_plus.tools import eval as eval_tool
from aot_plus.tools.cli import TOOLS
from aot_plus.utils.catalogue import PAPER_ROWS
from aot_plus.utils.config import get_config, model_names
from aot_plus.utils.masks import write_mask
from aot_plus.utils.sources import SOURCES
from aot_plus.viz.video_writer import VideoWriter
from evaluation.metrics import FIGURES, last_frames

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CHECKPOINTS = ROOT / "aot_plus" / "pretrain_models" / "README.md"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "aot_plus" / "datasets" / "README.md",
    CHECKPOINTS,
    *sorted(DOCS.glob("*.md")),
]


def _text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _rows(text: str, header: str) -> list[list[str]]:
    """Returns the cells of the only table whose header line begins with ``header``."""
    (table,) = re.findall(rf"^{re.escape(header)}.*\n\|[-|]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


# --- links and commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(((?!https?:)[^)\s]+)\)", _without_code(page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = _text("README.md")
    names = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert {name for name in names if f"]({name})" not in index} == set()


# The start of a command; the group matches its tool, if it names one.
_COMMANDS = re.compile(
    r"(?:(?<![\w/.-])aot-plus |python -m aot_plus )(?P<tool>[a-z][\w-]*)"
    r"|python -m (?P<module>(?:aot_plus\.tools|evaluation|benchmarks)[.\w]*)"
    r"|\./(?P<script>eval|train)_vost\.sh"
)


def _commands(text: str) -> list[tuple[str, list[str]]]:
    """Returns the module of each command on a page, with the flags given to it."""
    text = text.replace("\\\n", " ")
    commands = []
    for found in _COMMANDS.finditer(text):
        tool = found["tool"] or found["script"]
        rest = re.split(r"[`\n#;|]|&&", text[found.end() :], maxsplit=1)[0]
        commands.append((TOOLS[tool][0] if tool else found["module"], re.findall(r"(?<!\S)--\w[\w-]*", rest)))
    return commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tools_and_flags_of_the_commands_exist(page: Path) -> None:
    shared = (ROOT / "aot_plus" / "tools" / "common.py").read_text(encoding="utf-8")
    for module, flags in _commands(page.read_text(encoding="utf-8")):
        path = ROOT / module.replace(".", "/")
        source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
        known = source + shared * module.startswith("aot_plus")
        assert [flag for flag in flags if f'"{flag}"' not in known and flag != "--help"] == [], module


def test_every_kind_of_command_is_looked_at() -> None:
    text = """`aot-plus eval --a` and `python -m aot_plus show-decision --b \\
--c`, `python -m benchmarks.metric --d # --e`
./train_vost.sh --f
"""
    flags = [flags for _, flags in _commands(text)]
    assert flags == [["--a"], ["--b", "--c"], ["--d"], ["--f"]]


# --- memory policies


def _decision() -> dict[str, list[float]]:
    """Returns the columns of the worked example of a decision."""
    header = "| frame | read | relevance | redundancy | novelty | score | |"
    rows = _rows(_text("memory_policies.md"), header)
    names = ["frame", "read", "relevance", "redundancy", "novelty", "score"]
    columns = zip(*([float(cell) for cell in row[:6]] for row in rows), strict=True)
    dropped = [float(row[6] == "dropped") for row in rows]
    return {**{name: list(column) for name, column in zip(names, columns, strict=True)}, "dropped": dropped}


def test_the_worked_decision_follows_from_the_formulas() -> None:
    table, cfg = _decision(), get_config("mini_vost", "aot_mini")
    half = 0.5e-4  # of the last digit
    assert len(table["frame"]) == cfg.FORMER_MEM_LEN + cfg.LATTER_MEM_LEN
    assert table["relevance"][-1] == table["read"][-1]  # seen for the first time
    for index, relevance in enumerate(table["relevance"]):
        novelty = 1 / (
            1 + math.exp(cfg.MEM_EMFS_SLOPE * (table["redundancy"][index] - cfg.MEM_EMFS_MIDPOINT))
        )
        assert table["novelty"][index] == pytest.approx(novelty, abs=1.1 * half)
        score = cfg.MEM_EMFS_WEIGHT * relevance + novelty
        assert table["score"][index] == pytest.approx(score, abs=(cfg.MEM_EMFS_WEIGHT + 1.1) * half)
    assert sum(table["read"]) == pytest.approx(1, abs=10 * half)
    assert sum(table["redundancy"]) == pytest.approx(1, abs=10 * half)
    lowest = 1 + int(np.argmin(table["score"][1:]))
    assert table["dropped"] == [float(index == lowest) for index in range(len(table["frame"]))]


def test_the_worked_lines_use_the_numbers_of_the_table() -> None:
    """Every number with four decimals below the table is in the table, or follows from its numbers."""
    table = _decision()
    row = {name: values[table["dropped"].index(1)] for name, values in table.items()}
    below = re.split(r"^\| frame \| read (?:.*\n\|)+.*\n", _text("memory_policies.md"), flags=re.MULTILINE)[1]
    below = below.partition("\n## ")[0]
    formulas = [re.findall(r"\d\.\d{4}", formula) for formula in re.findall(r"\$([^$]*=[^$]*)\$", below)]
    before = formulas[0][0]
    assert 0.2 * float(before) + 0.8 * row["read"] == pytest.approx(row["relevance"], abs=1e-4)
    read, relevance, redundancy, novelty = (
        f"{row[name]:.4f}" for name in ("read", "relevance", "redundancy", "novelty")
    )
    rounded = f"{4 * row['relevance'] + row['novelty']:.4f}"
    assert formulas == [[before, read, relevance], [redundancy, novelty], [relevance, novelty, rounded]]
    of_table = {f"{value:.4f}" for values in table.values() for value in values}
    extremes = {f"{end(table[name]):.4f}" for name in ("novelty", "relevance") for end in (min, max)}
    told = set(re.findall(r"\d\.\d{4}", below))
    assert extremes <= told <= of_table | {before, rounded}


def test_every_policy_is_described() -> None:
    assert [name for name in POLICIES if f"| `{name}` |" not in _text("memory_policies.md")] == []


def test_presets_are_those_of_the_configs() -> None:
    rows = _rows(_text("memory_policies.md"), "| preset |")
    for row, model in zip(rows, ("r50_aotl", "r50_deaotl"), strict=True):
        cfg = get_config("pre_vost_2", model)
        values = (cfg.MEM_EMFS_WEIGHT, cfg.MEM_EMFS_SLOPE, cfg.MEM_EMFS_MIDPOINT)
        assert tuple(float(cell) for cell in row[1:4]) == values
        assert row[4].startswith(f"`{cfg.MEM_AVERAGES_START}`")


def _tiny_dataset(folder: Path, frames: int) -> None:
    """Writes one video of noise with two objects."""
    size = (65, 81)
    images, masks = folder / "JPEGImages_10fps" / "noise", folder / "Annotations" / "noise"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    (folder / "ImageSets").mkdir()
    (folder / "ImageSets" / "val.txt").write_text("noise\n", encoding="utf-8")
    for number in range(frames):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number:05d}.png")
    mask = np.zeros(size, dtype=np.uint8)
    mask[10:40, 10:40], mask[20:50, 50:70] = 1, 2
    write_mask(masks / "00000.png", mask)


def test_the_policy_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", _text("memory_policies.md"), flags=re.DOTALL)
    (tmp_path / "page_policies.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    _tiny_dataset(tmp_path / "data", 7)
    flags = ["--model", "aott", "--random_weights", "--no_metric", "--dataset", str(tmp_path / "data")]
    values = ["--set", "TEST_MEM_GAP_MIN=1", "LATTER_MEM_LEN=2"]
    folder = tmp_path / "out"
    policy = ["--policy", "page_policies:BestMoment", "--trace", "--result_dir", str(folder)]
    assert eval_tool.main([*flags, *values, *policy]) == 0
    lines = (folder / "traces" / "noise.jsonl").read_text(encoding="utf-8").splitlines()
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
    decisions = [entry for entry in entries if entry["dropped"] is not None]
    assert len(decisions) == 4
    best: dict[int, float] = {}
    for entry in decisions:
        scores = dict(zip(entry["bank"], entry["best"], strict=True))
        assert entry["dropped"] == min(entry["bank"][1:], key=scores.__getitem__)
        assert all(scores[frame] >= best[frame] for frame in scores.keys() & best.keys())  # never falls
        best = scores


# --- library


def test_the_video_of_the_library_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", _text("library.md"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))  # as with an installed package, in any folder
    images = [np.full((96, 128, 3), (40, 120, 60), np.uint8) for _ in range(3)]
    with VideoWriter(tmp_path / "video.mp4", 10) as writer:
        for number, image in enumerate(images):
            image[30:80, 40 + number : 100 + number] = (210, 60, 40)
            writer.write(image, number / 10)
    names: dict[str, Any] = {}
    exec(compile(block, "library.md", "exec"), names)
    assert np.count_nonzero(names["mask"]) == pytest.approx(50 * 60, rel=0.1)
    assert names["labels"].shape == (96, 128)
    assert len(VideoFile(tmp_path / "overlay.mp4")) == 3


# --- evaluation and checkpoints


def test_the_examples_of_the_protocol() -> None:
    text = _text("evaluation.md")
    gaps = re.findall(r"\b(\d+) frames\b[^|.]*? (\d+)\b", text)
    assert len(gaps) == 2
    assert [memory_gap(get_config("pre_vost_2", "r50_aotl"), int(frames)) for frames, _ in gaps] == [
        int(gap) for _, gap in gaps
    ]
    (row,) = re.findall(r"^\| J_tr \|.*$", text, flags=re.MULTILINE)
    scored, last = map(int, re.findall(r"\d+", row)[-2:])
    assert last_frames(np.zeros(scored)).shape == (last,)


def test_columns_of_the_files_are_named() -> None:
    text = _text("evaluation.md")
    assert [name for name in FIGURES if f"`{name}`" not in text] == []


def test_checkpoints_are_those_of_the_table() -> None:
    rows = _rows(CHECKPOINTS.read_text(encoding="utf-8"), "| file | row | model |")
    expected = [
        [row.method, f"[`{row.checkpoint}`]", f"`{row.model}`", f"`{row.policy}`"] for row in PAPER_ROWS
    ]
    assert [[row, file.partition("(")[0], *others] for file, row, *others in rows] == expected


def test_every_download_is_linked() -> None:
    checkpoints = CHECKPOINTS.read_text(encoding="utf-8")
    data = (ROOT / "aot_plus" / "datasets" / "README.md").read_text(encoding="utf-8")
    files = [source for source in SOURCES.values() if not source.unpacks_to]
    assert [file.name for file in files if f"[`{file.name}`]({file.address})" not in checkpoints] == []
    assert [
        source.name for source in SOURCES.values() if source.unpacks_to and source.address not in data
    ] == []


def test_initial_weights_are_those_of_the_configs() -> None:
    named = set(re.findall(r"`([\w.-]+\.pth)`", CHECKPOINTS.read_text(encoding="utf-8")))
    configs = [get_config("pre_vost_2", model) for model in ("r50_aotl", "r50_deaotl", "aott")]
    needed = {cfg.PRETRAIN_ENCODER for cfg in configs} | {cfg.PRETRAIN_MODEL for cfg in configs[:2]}
    assert needed <= named
    known = {get_config("pre_vost_2", model).PRETRAIN_MODEL for model in model_names()}
    assert {name for name in named if name.endswith("_PRE_YTB_DAV.pth")} <= known


# --- troubleshooting


Parts = list[str | None]  # the parts of a text; None stands for a value that is filled in


def _python_texts(path: Path) -> list[Parts]:
    """Returns the strings of a file; an f-string is one text."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    formatted = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    pieces = {id(part) for node in formatted for part in node.values}
    texts: list[Parts] = [
        [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
        for node in formatted
    ]
    plain = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in pieces]
    texts += [[node.value] for node in plain if isinstance(node.value, str)]
    return texts


def _shell_texts(path: Path) -> list[Parts]:
    said = re.findall(r'(?:say|die) "(.*)"', path.read_text(encoding="utf-8"))
    return [[None if part[:1] == "$" else part for part in re.split(r"(\$[\w*]+)", text)] for text in said]


def _templates() -> list[re.Pattern[str]]:
    """Returns patterns for the first lines of the code's texts that are long enough to identify a message."""
    packages = [ROOT / "aot_plus", ROOT / "evaluation"]
    texts = [text for package in packages for path in package.rglob("*.py") for text in _python_texts(path)]
    scripts = [*ROOT.glob("*.sh"), *(ROOT / "aot_plus" / "tools").glob("*.sh")]
    texts += [text for path in scripts for text in _shell_texts(path)]
    patterns = {"".join(".*" if part is None else re.escape(part) for part in parts) for parts in texts}
    first_lines = {pattern.split("\\\n")[0].replace("%s", ".*") for pattern in patterns}
    return [re.compile(line) for line in first_lines if len(line.replace(".*", "")) >= 20]


def test_the_messages_are_those_of_the_code() -> None:
    blocks = re.findall(r"^```\n(.*?)^```", _text("troubleshooting.md"), flags=re.DOTALL | re.MULTILINE)
    assert blocks
    templates = _templates()
    unknown = []
    for block in blocks:
        message = re.sub(
            r"^(error: |WARNING |ERROR sequence \w+ failed: |Failed: \w+: )", "", block.splitlines()[0]
        )
        if not any(template.search(message) for template in templates):
            unknown.append(message)
    assert unknown == []


# --- the image


def test_dockerfile_copies_what_is_there_and_ends_in_the_two_commands() -> None:
    text = (ROOT / "aot_plus" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    instructions = [line for line in text.replace("\\\n", " ").splitlines() if line and line[0] != "#"]
    copies = [line.split() for line in instructions if line.startswith("COPY ")]
    sources = [word for words in copies for word in words[1:-1] if not word.startswith("--")]
    assert {"requirements.txt", "requirements-dev.txt", "."} == set(sources)
    assert all((ROOT / source).exists() for source in sources)
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    assert instructions[-1] in {f'CMD ["sh", "-c", "{" && ".join(block.split())}"]' for block in blocks}
    assert "USER aot" in instructions
