"""Validates during training: measures J of averaged weights on a few sequences; saves the best weights."""

import copy
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from aot_plus.configs import Config
from aot_plus.dataloaders.eval_datasets import open_configured
from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.layers.processor import convolution_format
from aot_plus.networks.managers.frame_reading import given_frames, read_frame
from aot_plus.networks.managers.result_config import mask_values
from aot_plus.networks.managers.train_checkpoint import best_j, drop_best_after, save_best
from aot_plus.networks.managers.train_folder import LOG_FOLDER
from aot_plus.networks.managers.train_log import append_line, truncate_log
from aot_plus.networks.managers.video_pass import VideoPass
from aot_plus.networks.memory.gap import memory_gap
from aot_plus.networks.models import AOT
from aot_plus.networks.models.prepare import prepare_for_inference
from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from aot_plus.utils.read_ahead import ReadAhead
from aot_plus.utils.words import format_count
from evaluation.masks import Mask
from evaluation.metrics import MIN_ANNOTATED_FRAMES, FloatArray, object_figures, score_sequence
from evaluation.progress import ProgressBar

__all__ = ["VALIDATION_LOG", "Validation", "validation_is_due"]

_log = logging.getLogger(__name__)

VALIDATION_LOG = "validation.jsonl"


class _Stopped(Exception):
    """Ends a validation early because the run is being stopped."""


class _NoFigures(Exception):
    """Says why the masks of a validation are not valid."""


def validation_is_due(cfg: Config, done: int) -> bool:
    """Returns whether a validation follows after ``done`` steps: every ``TRAIN_EVAL_STEPS`` and the last."""
    every = cfg.TRAIN_EVAL_STEPS
    return every > 0 and (done % every == 0 or done == cfg.TRAIN_TOTAL_STEPS)


class Validation:
    """Evaluates a training's averaged weights every ``TRAIN_EVAL_STEPS`` steps and after the last step.

    Each validation adds a line to ``<folder>/log/validation.jsonl``; the averaged weights with the highest J
    are saved as ``<folder>/best.pth``. Validations do not affect the training itself: if the network's logits
    are not finite, as in a ``TEST_DTYPE`` of too small a range, there is a warning instead of figures.
    """

    def __init__(self, cfg: Config, folder: Path, device: torch.device) -> None:
        """Chooses the sequences. Raises ``DataError`` if the test set is missing or has no such split."""
        self._cfg = cfg
        self._folder = folder
        self._path = folder / LOG_FOLDER / VALIDATION_LOG
        self._device = device
        self._dataset = open_configured(cfg)
        self._dataset.require()
        names = self._dataset.sequences()
        count = min(cfg.TRAIN_EVAL_SEQUENCES, len(names))
        self._names = [names[index * len(names) // count] for index in range(count)]
        chosen = {"TEST_DATASET_SPLIT": cfg.TEST_DATASET_SPLIT, "sequences": self._names}
        self._measured = {**mask_values(cfg), **chosen}
        self._truths = {name: self._truth(name) for name in self._names}

    def _truth(self, name: str) -> VideoSequence:
        """Returns a sequence with all of its annotated masks. Raises ``DataError`` if there are too few."""
        sequence = self._dataset.sequence(name)
        masks = self._dataset.list_masks(name)
        annotated = {path.stem: masks[path.stem] for path in sequence.images if path.stem in masks}
        if len(annotated) < MIN_ANNOTATED_FRAMES:
            raise DataError(
                f"{self._dataset.masks_folder / name}: a validation needs {MIN_ANNOTATED_FRAMES} annotated "
                f"frames, found {len(annotated)}; choose another TEST_DATASET, or TRAIN_EVAL_STEPS=0"
            )
        return replace(sequence, masks=annotated)

    def resume(self, average: AOT, start: int) -> None:
        """Removes lines and best weights of steps after ``start``; validates at ``start`` if that is overdue.

        A killed run left them. Its later steps are repeated and may lead to other weights.
        """
        truncate_log(self._path, start)
        drop_best_after(self._folder, start)
        if start and validation_is_due(self._cfg, start) and start not in self._steps():
            self.run_if_due(average, start, lambda: False)

    def run_if_due(self, average: AOT, done: int, stopping: Callable[[], bool]) -> float | None:
        """Validates after ``done`` steps if that is due, and returns J (0..1), else None.

        Stops as soon as ``stopping`` returns True; it then returns None and writes nothing. The same holds,
        after a warning, if logits are not finite.
        """
        if not validation_is_due(self._cfg, done):
            return None
        started = time.perf_counter()
        try:
            figures = self._figures(average, stopping)
        except _Stopped:
            return None
        except _NoFigures as error:
            _log.warning("step %d: no J of %s", done, error)
            return None
        j = float(np.concatenate([*figures.values()]).mean())
        best = best_j(self._folder, self._measured)
        is_best = j > best
        if is_best:
            network = self._cfg.MODEL_VOS
            save_best(self._folder, average.state_dict(), done, j, self._measured, network)
        line = {
            "step": done,
            "j": j,
            "best": is_best,
            "j_of_sequences": {name: float(np.mean(values)) for name, values in figures.items()},
            "seconds": round(time.perf_counter() - started, 3),
        }
        append_line(self._path, line)
        kept = "the best so far, kept as best.pth" if is_best else f"best so far: {best:.3f}"
        _log.info("step %d: J %.3f on %s (%s)", done, j, format_count(len(figures), "sequence"), kept)
        return j

    def _steps(self) -> set[int]:
        """Returns the steps that have a line in the log."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
        return {parse_json(line)["step"] for line in lines}

    def _figures(self, average: AOT, stopping: Callable[[], bool]) -> dict[str, FloatArray]:
        """Computes J of each object, by sequence. Raises ``_NoFigures`` if logits are not finite."""
        model = copy.deepcopy(average)
        layout = convolution_format(self._device, self._cfg.TEST_DTYPE, self._cfg.TEST_TF32)
        prepare_for_inference(model, layout)
        segmenter = VideoSegmenter(model, self._cfg)  # shared: videos of one shape reuse its CUDA graphs
        figures = {}
        with ProgressBar(total=len(self._names), unit="sequence", desc="validation", leave=False) as bar:
            for name, truth in self._truths.items():
                masks = (truth.read_mask(frame) for frame in truth.masks)
                annotations = (mask for mask in masks if mask is not None)
                ious = score_sequence(annotations, self._predictions(segmenter, truth, stopping))
                try:
                    segmenter.check_finite()
                except DataError as error:
                    raise _NoFigures(f"{name}: {error}") from error
                figures[name] = object_figures(ious)[:, 0]
                bar.update()
        return figures

    def _predictions(
        self, segmenter: VideoSegmenter, truth: VideoSequence, stopping: Callable[[], bool]
    ) -> Iterator[Mask]:
        """Yields the predicted masks of the annotated frames, one at a time."""
        sequence = self._dataset.sequence(truth.name)
        gap = memory_gap(self._cfg, len(sequence.images))
        reads = [partial(read_frame, sequence, segmenter, path) for path in sequence.images]
        video = VideoPass(truth.name, segmenter, gap)
        with ReadAhead(reads) as reader:
            for name, frame, given in given_frames(sequence, reader):
                mask = video.step(frame, given)
                if stopping():
                    raise _Stopped
                if name in truth.masks:
                    yield mask()
