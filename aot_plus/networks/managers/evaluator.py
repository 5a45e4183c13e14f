"""Runs inference over a dataset and writes the masks of every sequence to a result folder."""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import cv2
import torch

from aot_plus.configs import Config
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.networks.managers.claimed_folder import claim_folder
from aot_plus.networks.managers.frame_reading import given_frames, read_frame
from aot_plus.networks.managers.given_record import changed_inputs, save_given
from aot_plus.networks.managers.origin import Origin
from aot_plus.networks.managers.processes import ProcessPlace, divide_sequences, gather, helper_threads
from aot_plus.networks.managers.result_config import claim_result_folder, remove_figures
from aot_plus.networks.managers.sequence_folder import SequenceFolder, remove_unfinished
from aot_plus.networks.managers.summary import EvaluationSummary
from aot_plus.networks.managers.video_pass import Segmenter, VideoPass
from aot_plus.networks.managers.writer import BackgroundWriter
from aot_plus.networks.memory.gap import memory_gap
from aot_plus.utils.config import SUMMARY_FILE
from aot_plus.utils.cores import Pace
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import first_out_of_order
from aot_plus.utils.read_ahead import ReadAhead
from evaluation.progress import ProgressBar

_log = logging.getLogger(__name__)

# Errors in one sequence that must not stop the others. PyTorch out of memory is a RuntimeError.
SEQUENCE_ERRORS = (DataError, OSError, RuntimeError, MemoryError, cv2.error)


class Evaluator:
    """Runs a segmenter over sequences of a dataset and writes ``<result_dir>/<sequence>/<frame>.png``.

    A mask that shows new objects in mid-video is passed to the segmenter with its frame.

    A sequence is written to a hidden folder that is renamed when complete, so a killed or failed run leaves
    either the whole sequence or nothing. A later run skips complete sequences and starts the others at their
    first frame. With ``overwrite``, old results are removed before the first sequence starts: results of two
    runs never mix, and a killed run can be resumed without ``overwrite``. Old results made with another
    config or ``origin`` (see ``origin_of_masks``), or from other masks and frames, are an error; with
    ``resume`` they are kept.

    ``summary.json``, ``config.yaml`` and, with ``cfg.TEST_MEM_TRACE``, ``traces/`` are written next to the
    sequences.
    """

    def __init__(
        self,
        cfg: Config,
        segmenter: Segmenter,
        dataset: Dataset,
        sequences: Sequence[str],
        result_dir: Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        origin: Origin | None = None,
        place: ProcessPlace | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.cfg = cfg
        self.segmenter = segmenter
        self.dataset = dataset
        self.sequences = sequences
        self.result_dir = result_dir
        self.overwrite = overwrite
        self.resume = resume
        self.origin = origin or {}
        self.place = place or ProcessPlace()
        self.device = device or torch.device("cpu")
        self._helpers = helper_threads(self.place, self.device)
        self._pace = Pace()

    def run(self) -> EvaluationSummary:
        """Runs this process's share, waits for the other processes, and returns the summary of all.

        Errors in single sequences are in the summary's ``failed``. Raises ``ConfigError`` if the folder holds
        results of another config, and ``DataError`` if another run uses it. An interrupt (Ctrl-C) is
        re-raised with a message that says how many sequences are finished.
        """
        with claim_folder(self.result_dir, self.place, self._claim):
            summary = self._run_share()
            total = EvaluationSummary.merge(gather(self.place, summary))
            if self.place.rank == 0:
                total.save(self.result_dir / SUMMARY_FILE)
        return total

    def _claim(self) -> None:
        """Claims the result folder for this run. Raises ``ConfigError``."""
        remove_unfinished(self.result_dir)
        with_trace = self.cfg.TEST_MEM_TRACE
        kept = [] if self.overwrite else finished(self.result_dir, self.dataset, self.sequences, with_trace)
        changed = changed_inputs(self.result_dir, kept)
        claim_result_folder(
            self.cfg,
            self.origin,
            self.result_dir,
            self.sequences,
            changed=list(changed.values()),
            computes=len(kept) < len(self.sequences),
            overwrite=self.overwrite,
            resume=self.resume,
        )
        for sequence in kept:  # accepted by ``resume``: their new records let later runs accept them
            if sequence.name in changed:
                save_given(self.result_dir / sequence.name, sequence)

    def _run_share(self) -> EvaluationSummary:
        """Runs this process's share; an interrupt gets a message that says how much of it is finished."""
        summary, started = EvaluationSummary(), time.perf_counter()
        share = self._share()
        try:
            self._run_sequences(self._plan(share, summary), summary)
        except KeyboardInterrupt as interrupt:
            count = f"{len(summary.done) + len(summary.skipped)} of {len(share)}"
            again = "Rerun the same command (without --overwrite) to resume."
            raise type(interrupt)(f"Interrupted; finished: {count} sequences. {again}") from None
        summary.seconds = time.perf_counter() - started
        summary.measure_memory(self.device)
        return summary

    def _share(self) -> list[str]:
        """Lists this process's sequences, in the split's order."""
        lengths = {name: self.dataset.length(name) for name in self.sequences}
        share = set(divide_sequences(lengths, self.place.world_size)[self.place.rank])
        return [name for name in self.sequences if name in share]

    def _run_sequences(self, work: Sequence[VideoSequence], summary: EvaluationSummary) -> None:
        """Computes sequences, with a progress bar; adds each to ``summary``."""
        total = sum(len(sequence.images) for sequence in work)
        hidden = not work or self.place.rank > 0
        with ProgressBar(total=total, unit="frame", disable=hidden, mininterval=1.0) as bar:
            for sequence in work:
                bar.set_description(sequence.name)
                expected = bar.n + len(sequence.images)
                try:
                    self._run_sequence(sequence, summary, bar)
                    summary.done.append(sequence.name)
                except SEQUENCE_ERRORS as error:
                    self._note_failure(summary, sequence.name, error)
                bar.update(expected - bar.n)  # the frames that a failed sequence did not reach

    def _plan(self, share: Iterable[str], summary: EvaluationSummary) -> list[VideoSequence]:
        """Returns the sequences of the share to compute; adds finished and unreadable ones to ``summary``.

        Removes the figures of an earlier run if any sequence must be computed or cannot be read.
        """
        work = []
        for name in share:
            folder = SequenceFolder(self.result_dir, name)
            try:
                sequence = self.dataset.sequence(name)
                if folder.is_complete(sequence.files(), self.cfg.TEST_MEM_TRACE):
                    summary.skipped.append(name)
                else:
                    folder.discard()
                    work.append(sequence)
            except SEQUENCE_ERRORS as error:
                self._note_failure(summary, name, error)
        if work or summary.failed:
            remove_figures(self.result_dir)
        return work

    def _note_failure(self, summary: EvaluationSummary, name: str, error: Exception) -> None:
        unexpected = not isinstance(error, DataError | OSError)
        _log.error("sequence %s failed: %s", name, error, exc_info=unexpected)
        summary.failed[name] = f"{type(error).__name__}: {error}" if unexpected else str(error)

    def _run_sequence(self, sequence: VideoSequence, summary: EvaluationSummary, bar: ProgressBar) -> None:
        if pair := first_out_of_order([path.name for path in sequence.images]):
            _log.warning(
                "sequence %s: frames are taken in the order of their names, so %s comes where %s should; "
                "write the numbers with leading zeros",
                sequence.name,
                *pair,
            )
        folder = SequenceFolder(self.result_dir, sequence.name)
        trace: list[str] | None = [] if self.cfg.TEST_MEM_TRACE else None
        try:
            masks = folder.start()
            save_given(masks, sequence)  # before reading, so that a change meanwhile is noticed
            self.segmenter.trace = None if trace is None else lambda entry: trace.append(json.dumps(entry))
            gap = memory_gap(self.cfg, len(sequence.images))
            video = VideoPass(sequence.name, self.segmenter, gap)
            try:
                self._segment(sequence, video, masks, bar)
            finally:
                summary.frames += video.frames
                summary.compute_seconds += video.seconds
            folder.finish(sequence.files(), trace)
        finally:
            folder.discard_unfinished()

    def _segment(self, sequence: VideoSequence, video: VideoPass, masks: Path, bar: ProgressBar) -> None:
        """Writes the masks of all frames into the folder ``masks``.

        Raises ``DataError`` for a frame that cannot be used, or if the model's logits are not finite.
        """
        by_device = self.cfg.TEST_GPU_IMAGES
        reads = [
            partial(read_frame, sequence, self.segmenter, path, by_device=by_device)
            for path in sequence.images
        ]
        saved = frozenset(sequence.saved)
        readers = self.cfg.TEST_READERS or self._helpers
        writers = self.cfg.TEST_WRITERS or self._helpers
        with (
            ReadAhead(reads, ahead=2 * readers, threads=readers) as reader,
            BackgroundWriter(writers, sequence.write) as writer,
        ):
            for name, frame, mask in given_frames(sequence, reader):
                predicted = video.step(frame, mask)
                if name in saved:
                    writer.write(masks / f"{name}.png", predicted)
                bar.update()
                self._pace.tick()
            self.segmenter.check_finite()
            writer.join()


def finished(
    result_dir: Path, dataset: Dataset, names: Iterable[str], with_trace: bool
) -> list[VideoSequence]:
    """Returns the sequences whose results are complete; leaves out those whose files cannot be listed."""
    found = []
    for name in names:
        with suppress(*SEQUENCE_ERRORS):
            sequence = dataset.sequence(name)
            if SequenceFolder(result_dir, name).is_complete(sequence.files(), with_trace):
                found.append(sequence)
    return found
