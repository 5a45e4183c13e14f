"""Checks a whole dataset, several sequences at a time in separate processes."""

from dataclasses import dataclass
from functools import partial

from aot_plus.dataloaders.dataset_check.findings import FOLDER_MISSING, Finding, Severity, format_findings
from aot_plus.dataloaders.dataset_check.layout import check_folders, check_splits
from aot_plus.dataloaders.dataset_check.sequence import SequenceReport, check_sequence
from aot_plus.dataloaders.eval_datasets import Dataset
from evaluation.parallel import map_in_processes


@dataclass(frozen=True)
class DatasetReport:
    """All findings, and how much was looked at: sequences per split, and the report of each sequence."""

    findings: list[Finding]
    splits: dict[str, int]
    sequences: list[SequenceReport]

    def describe(self) -> str:
        """Describes the findings, then counts them and what was read, for a terminal."""
        found = [format_findings(self.findings) + "\n"] if self.findings else []
        return "\n".join([*found, self._summary()])

    def _summary(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items()) or "none"
        frames = sum(sequence.frames for sequence in self.sequences)
        masks = sum(sequence.masks for sequence in self.sequences)
        pixels = sum(sequence.pixels for sequence in self.sequences)
        ignored = sum(sequence.ignored for sequence in self.sequences)
        counts = [
            f"{severity.name.lower()}s: {sum(f.kind.severity is severity for f in self.findings)}"
            for severity in Severity
        ]
        return (
            f"Sequences: {splits}. Read: {len(self.sequences)} sequences, {frames} frames, {masks} masks; "
            f"{ignored / max(pixels, 1):.2%} of the masks' pixels are ignored.\nFound: {', '.join(counts)}."
        )


def check_dataset(dataset: Dataset, split: str | None = None, workers: int | None = 1) -> DatasetReport:
    """Checks the sequences of ``split`` or, with None, of all splits, with a progress bar.

    ``workers``: processes, as for ``map_in_processes``. Without JPEGImages_10fps or Annotations no sequence
    is looked at. Raises ``DataError`` for an unknown split, or when a worker process died.
    """
    splits, findings = check_splits(dataset, split)
    findings = check_folders(dataset) + findings
    names = list(dict.fromkeys(name for of_split in splits.values() for name in of_split))
    if any(finding.kind == FOLDER_MISSING for finding in findings):
        names = []
    check = partial(check_sequence, dataset)
    reports = map_in_processes(check, names, workers, "check", size=dataset.length)
    findings += [finding for report in reports for finding in report.findings]
    return DatasetReport(findings, {name: len(of_split) for name, of_split in splits.items()}, reports)
