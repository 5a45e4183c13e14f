"""Checks a whole dataset, several sequences at a time in separate processes."""

from dataclasses import dataclass

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.dataset_check.findings import Finding, Severity, format_findings
from aot_plus.dataloaders.dataset_check.layout import (
    check_folders,
    check_sequence_folders,
    check_splits,
    withheld_masks,
)
from aot_plus.dataloaders.dataset_check.sequence import SequenceReport, check_sequence
from aot_plus.utils.words import format_count
from evaluation.parallel import map_in_processes


@dataclass(frozen=True)
class DatasetReport:
    """Holds all findings, the number of sequences per split, and the report of each checked sequence."""

    findings: list[Finding]
    splits: dict[str, int]
    sequences: list[SequenceReport]

    def describe(self) -> str:
        """Formats the findings for a terminal, then counts them and everything that was read."""
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
        read = ", ".join(
            format_count(number, noun)
            for number, noun in ((len(self.sequences), "sequence"), (frames, "frame"), (masks, "mask"))
        )
        return (
            f"Sequences: {splits}. Read: {read}; {ignored / max(pixels, 1):.2%} of the masks' pixels are "
            f"ignored.\nFound: {', '.join(counts)}."
        )


def check_dataset(dataset: Dataset, split: str | None = None, workers: int | None = 1) -> DatasetReport:
    """Checks the sequences of ``split``, or of all splits if it is None, with a progress bar.

    ``workers``: number of processes, as for ``map_in_processes``. A split's sequences are not checked if its
    folder of images or of masks is missing. VOST's test split, which has no masks in the archive, is only
    checked when it is named. Raises ``DataError`` for an unknown split, or if a worker process died.
    """
    splits, findings = check_splits(dataset, split)
    opened = {name: dataset.of_split(name) for name in splits} or {dataset.split: dataset}
    of_folders = [finding for each in opened.values() for finding in check_folders(each)]
    findings = [*dict.fromkeys(of_folders), *findings]
    homes: dict[str, Dataset] = {}  # by sequence: the first split that names it and is read
    for name, names in splits.items():
        if opened[name].missing():
            continue
        if split is None and (withheld := withheld_masks(opened[name], names)):
            findings += withheld
            continue
        of_split, absent = check_sequence_folders(opened[name], names)
        findings += of_split
        for sequence in names:
            if sequence not in absent:
                homes.setdefault(sequence, opened[name])
    jobs = [(home, name) for name, home in homes.items()]
    reports = map_in_processes(_check, jobs, workers, "check", size=lambda job: job[0].length(job[1]))
    findings += [finding for report in reports for finding in report.findings]
    return DatasetReport(findings, {name: len(names) for name, names in splits.items()}, reports)


def _check(job: tuple[Dataset, str]) -> SequenceReport:
    return check_sequence(*job)
