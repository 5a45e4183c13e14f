"""Writes the log of a training: progress bar, JSON lines, TensorBoard, pictures of predictions."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Batch
from aot_plus.networks.managers.learner import StepResult
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.images import restore
from aot_plus.utils.json_text import parse_json
from aot_plus.viz.clips import clip_row
from evaluation.files import replace_text, replacing, writing
from evaluation.progress import ProgressBar

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TrainLog", "append_line", "lines_up_to", "tensorboard_writer", "truncate_log"]

_log = logging.getLogger(__name__)
_PICTURED_CLIPS = 4


class TrainLog:
    """Writes the log of one process. All but the first (``active`` False) write nothing.

    ``<folder>/train.jsonl`` gets a line every ``TRAIN_LOG_STEP`` steps: means over the steps since the last
    line, of this run only, so each line says how many ``steps`` these are. Lines of steps after
    ``start_step``, which a killed run left, are removed.
    """

    def __init__(self, cfg: Config, folder: Path, start_step: int, *, active: bool) -> None:
        self.cfg = cfg
        self.folder = folder
        self._path = folder / "train.jsonl"
        self.active = active
        self._recent: list[tuple[StepResult, float, float]] = []
        if active:
            truncate_log(self._path, start_step)
        self._writer: SummaryWriter | None = None
        if active and cfg.TRAIN_TBLOG:
            self._writer = tensorboard_writer()(str(folder / "tensorboard"), purge_step=start_step + 1)
        self._bar = ProgressBar(  # last, so that an error before it starts on a new line
            total=cfg.TRAIN_TOTAL_STEPS, initial=start_step, unit="step", disable=not active, mininterval=1.0
        )

    def __enter__(self) -> "TrainLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def add(
        self, step: int, batch: Batch, result: StepResult, seconds: float, waited: float, skipped_in_all: int
    ) -> None:
        """Records a step, counted from 0; of its ``seconds``, ``waited`` were spent waiting for data.

        ``skipped_in_all``: how many steps of the whole training so far had no update.
        """
        if not self.active:
            return
        self._recent.append((result, seconds, waited))
        self._bar.update()
        done = step + 1
        if done % self.cfg.TRAIN_LOG_STEP == 0 or done == self.cfg.TRAIN_TOTAL_STEPS:
            self._write_line(done, skipped_in_all)
        if self.cfg.TRAIN_IMG_LOG and done % self.cfg.TRAIN_IMG_LOG == 0:
            self._write_picture(done, batch, result)

    def add_validation(self, done: int, j: float) -> None:
        """Records the J of a validation after ``done`` steps in TensorBoard, if that is enabled."""
        if self._writer is not None:
            self._writer.add_scalar("validation/j", j, done)

    def _write_line(self, done: int, skipped_in_all: int) -> None:
        line = _means(self._recent)
        self._recent = []
        line = {"step": done, **line, "skipped_in_all": skipped_in_all}
        append_line(self._path, line)
        shown = {"loss": line["loss"], "mIoU": _mean(line["mean_iou"][1:]), "lr": line["lr"]}
        self._bar.set_postfix(
            {name: "-" if value is None else f"{value:.3g}" for name, value in shown.items()}
        )
        if self._writer is not None:
            for name, value in {**line, "mean_iou": shown["mIoU"]}.items():
                if isinstance(value, int | float) and name not in ("step", "steps"):
                    self._writer.add_scalar(f"train/{name}", value, done)

    def _write_picture(self, done: int, batch: Batch, result: StepResult) -> None:
        predictions = result.predictions.cpu()
        rows = []
        for sample, name in enumerate(batch.names[:_PICTURED_CLIPS]):
            images = list(restore(batch.images[:, sample].numpy()))
            rows.append(clip_row(f"{name}: labels", images, list(batch.labels[:, sample].numpy())))
            rows.append(clip_row("predictions", images, list(predictions[:, sample].numpy())))
        with replacing(self.folder / "pictures" / f"step_{done}.png") as temporary:
            Image.fromarray(np.concatenate(rows)).save(temporary, format="PNG")


def _means(recent: Sequence[tuple[StepResult, float, float]]) -> dict[str, Any]:
    """Returns the values of a line; None for a mean of no values."""
    results = [result for result, _, _ in recent]
    updated = [result for result in results if result.updated]
    return {
        "steps": len(results),
        "loss": _mean([result.loss for result in updated]),
        "lr": results[-1].rate,
        "mean_iou": [_mean(frame) for frame in zip(*(result.mean_iou for result in results), strict=True)],
        "num_objects": _mean([result.num_objects for result in results]),
        "gradient_norm": _mean([result.gradient_norm for result in updated]),
        "sequential_share": _mean([float(result.sequential) for result in results]),
        "skipped": len(results) - len(updated),
        "seconds": _mean([seconds for _, seconds, _ in recent]),
        "waited_for_data": _mean([waited for _, _, waited in recent]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean of the finite ``values``, to six significant digits; None if there are none."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    return float(f"{sum(numbers) / len(numbers):.6g}") if numbers else None


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Adds a line of JSON to a file. Raises ``DataError`` if it cannot be written."""
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def truncate_log(path: Path, start_step: int) -> None:
    """Removes the lines of steps after ``start_step`` from a file, which may not exist. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        replace_text(path, "".join(lines_up_to(path, start_step)))


def lines_up_to(path: Path, start_step: int) -> list[str]:
    """Returns the lines up to ``start_step``, except unreadable ones: a killed run may leave half a line."""
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if parse_json(line)["step"] <= start_step:
                kept.append(f"{line}\n")
        except (ValueError, LookupError, TypeError):
            _log.warning("%s: removed a line that cannot be read: %.60s", path, line)
    return kept


def tensorboard_writer() -> "type[SummaryWriter]":
    """Returns TensorBoard's ``SummaryWriter``. Raises ``ConfigError`` if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("TRAIN_TBLOG: TensorBoard is not installed: pip install tensorboard") from error
    return SummaryWriter
