"""Runs inference and then the metric, for the tools, the end of a training and the benchmarks."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import evaluation
from aot_plus.configs import Config
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.eval_datasets import open_configured
from aot_plus.networks.managers.summary import EvaluationSummary
from aot_plus.pipeline.launch import launch
from aot_plus.pipeline.truth import check_truth
from aot_plus.utils.config import CONFIG_FILE
from aot_plus.utils.errors import DataError, VOSError
from aot_plus.utils.paths import file_name, run_folder
from evaluation.layouts import Truth
from evaluation.protocols import get_protocol
from evaluation.results import Results, figure_paths, format_table

__all__ = ["Evaluation", "Inference", "Job", "evaluate", "infer", "result_folder", "score"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Describes a run of one model with one policy on the split ``TEST_DATASET_SPLIT`` of ``TEST_DATASET``.

    checkpoint: None for random weights.
    result_dir: by default ``result_folder`` of the config.
    sequences: of the split; None for all.
    overwrite: compute finished sequences again.
    resume: keep finished sequences even if config, checkpoint or code differ.
    processes: number of processes that share the sequences.
    """

    cfg: Config
    checkpoint: Path | None
    result_dir: Path | None = None
    sequences: tuple[str, ...] | None = None
    overwrite: bool = False
    resume: bool = False
    processes: int = 1

    def open_dataset(self) -> Dataset:
        """Opens the dataset. Raises ``DataError`` if it is missing."""
        return open_configured(self.cfg)

    @property
    def folder(self) -> Path:
        """Returns the folder of the masks and figures."""
        if self.result_dir is not None:
            return self.result_dir
        return result_folder(self.cfg, random_weights=self.checkpoint is None)

    def differences(self) -> list[str]:
        """Lists what changed since the folder's masks were made: config, weights, users' files, code, data.

        Raises ``CheckpointError``, and ``ConfigError`` for a saved config that cannot be read.
        """
        from aot_plus.networks.managers.origin import origin_of_masks
        from aot_plus.networks.managers.result_config import folder_differences
        from aot_plus.networks.models.loading import DECIDED_BY_FILE

        if not (self.folder / CONFIG_FILE).is_file():
            return []
        origin = origin_of_masks(self.cfg, self.checkpoint)
        of_file = frozenset() if self.checkpoint is None else DECIDED_BY_FILE  # the checkpoint decides them
        return [*folder_differences(self.folder, self.cfg, origin, of_file), *self._changed_inputs()]

    def _changed_inputs(self) -> list[str]:
        """Lists the sequences whose results were made from other masks and frames than the present ones."""
        from aot_plus.networks.managers.evaluator import finished
        from aot_plus.networks.managers.given_record import changed_inputs

        try:
            dataset = self.open_dataset()
            names = dataset.select(self.sequences)
        except DataError:  # inference reports it
            return []
        kept = finished(self.folder, dataset, names, self.cfg.TEST_MEM_TRACE)
        return list(changed_inputs(self.folder, kept).values())

    def renewed(self) -> "Job":
        """Returns a job that replaces the folder's masks if they were made differently; logs the differences.

        Raises the errors of ``differences``.
        """
        differences = self.differences()
        if differences:
            _log.info("%s: the masks there are made again: %s", self.folder, "; ".join(differences))
        return replace(self, overwrite=self.overwrite or bool(differences))


@dataclass(frozen=True)
class Inference:
    """Holds a job whose masks are in its folder, and the summary of its inference."""

    job: Job
    summary: EvaluationSummary

    def describe(self) -> str:
        """Describes the result in a few lines for a terminal."""
        lines = [self.summary.describe()]
        if self.job.checkpoint is None:
            lines.append("The weights were random: these masks and any numbers made from them mean nothing.")
        return "\n".join([*lines, f"Results: {self.job.folder}"])


@dataclass(frozen=True)
class Evaluation(Inference):
    """Holds a job with the figures of its masks; None if a server scores them."""

    results: Results | None


def result_folder(cfg: Config, name: str | None = None, *, random_weights: bool) -> Path:
    """Returns ``results/<exp>_<model>/<stage>/eval/<dataset>/<name>``, from ``home()``.

    ``name``: by default the policy and its capacity: ``emfs_1+8``, for a user's own ``my_policies.Best_1+8``.
    """
    if name is None:
        capacity = "" if cfg.MEM_POLICY == "unbounded" else f"_{cfg.FORMER_MEM_LEN}+{cfg.LATTER_MEM_LEN}"
        policy = file_name(cfg.MEM_POLICY)
        name = f"{'random_weights_' if random_weights else ''}{policy}{capacity}"
    return run_folder(cfg) / "eval" / open_configured(cfg).result_name / name


def infer(job: Job) -> Inference:
    """Writes the masks that do not exist yet. Errors in single sequences are in the summary.

    Raises ``VOSError`` for errors that affect all sequences, and ``KeyboardInterrupt`` with a message.
    """
    return Inference(job, launch(_infer, job, processes=job.processes))


def _infer(job: Job) -> EvaluationSummary:
    """Runs inference on this process's share of the sequences; returns the summary of all."""
    import cv2
    import torch
    from tqdm.contrib.logging import logging_redirect_tqdm

    from aot_plus.networks.engines.segmenter import VideoSegmenter
    from aot_plus.networks.managers.evaluator import Evaluator
    from aot_plus.networks.managers.origin import origin_of_masks
    from aot_plus.networks.managers.processes import ProcessPlace, choose_device, process_group, share_cores
    from aot_plus.networks.memory.policies import build_policy
    from aot_plus.networks.models.loading import load_from_config

    place = ProcessPlace.from_environment()
    dataset = job.open_dataset()
    dataset.require()
    sequences = dataset.select(job.sequences)
    device = choose_device(job.cfg.TEST_DEVICE, place)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # otherwise PyTorch also creates a context on the first GPU
    build_policy(job.cfg)  # raises for a wrong one before anything is read or written
    share_cores(place)
    cv2.setNumThreads(1)  # several threads already resize frames, besides those of the network
    with process_group(place), logging_redirect_tqdm():
        torch.manual_seed(0)  # random weights are the same in all processes
        model = load_from_config(job.cfg, job.checkpoint, device=str(device))
        return Evaluator(
            model.cfg,
            VideoSegmenter(model),  # of all videos: those of one shape reuse its CUDA graphs
            dataset,
            sequences,
            job.folder,
            overwrite=job.overwrite,
            resume=job.resume,
            origin=origin_of_masks(model.cfg, job.checkpoint) if place.rank == 0 else None,
            place=place,
            device=device,
        ).run()


def score(job: Job, truth: Truth) -> Results:
    """Computes the figures of a job's masks. Raises ``DataError``."""
    _log.info("== Metric: %s, protocol %s", job.folder, truth.protocol.name)
    return evaluation.evaluate(job.folder, truth.root, truth.split, protocol=truth.protocol)


def evaluate(job: Job, say: Callable[[str], None]) -> Evaluation:
    """Runs inference and metric on a whole split; ``say`` is called with the text for the user.

    The metric is skipped if a server scores the split. Raises ``VOSError``.
    """
    cfg = job.cfg
    protocol = get_protocol(cfg.TEST_PROTOCOL)  # raises for a wrong name before the work
    model = f"{cfg.MODEL_NAME}, {cfg.STAGE_NAME}, {job.checkpoint or 'random weights'}"
    _log.info("== Inference: %s, %s %s", model, cfg.TEST_DATASET, cfg.TEST_DATASET_SPLIT)
    dataset = job.open_dataset()
    check_truth(dataset, protocol, "\nThe metric needs it; --no_metric makes only the masks")
    no_metric = "inference failed; the metric was not computed"
    try:
        done = infer(job)
    except VOSError as error:
        raise VOSError(f"{error}\n{no_metric}") from error
    say(done.describe())
    if done.summary.failed:
        raise VOSError(no_metric)
    if dataset.server:
        public = f"{dataset.name} {dataset.split} has no public ground truth"
        say(f"{public}: {dataset.server} scores the masks, and --zip packs them for it.")
        return Evaluation(job, done.summary, None)
    truth = dataset.truth(protocol)
    results = score(job, truth)
    *others, overall = figure_paths(job.folder, truth.split, truth.protocol)
    files = " and ".join([str(overall), *(path.name for path in others)])
    say(f"{format_table(results)}\nCSV files: {files}")
    return Evaluation(job, done.summary, results)
