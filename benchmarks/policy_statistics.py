"""Computes statistics of the policy comparison: means over objects, and their intervals over sequences."""

import numpy as np
import pandas as pd

__all__ = ["FIGURES", "SETTING", "compare", "estimate", "interval", "markdown"]

FIGURES = ("J", "J_tr")
SETTING = ["model", "policy", "gap", "latter"]  # of a run; latter: frames besides the first in the bank
_CONFIDENCE = 0.95
_RESAMPLES = 9999


def compare(objects: pd.DataFrame, reference: str, reference_gap: int) -> pd.DataFrame:
    """Returns a row for each setting: J, J_tr with standard errors, and paired differences with intervals.

    Differences are from the policy ``reference`` with the same model and capacity at ``reference_gap``, so
    they also show the effect of the gap.

    Args:
        objects: a row for each object of each run, with ``SETTING``, ``FIGURES``, seed, sequence, object and
            frames_per_second.
        reference: one of the policies.
        reference_gap: one of the gaps.
    """
    indexed = objects.set_index(["seed", "sequence", "object"])
    groups = dict(iter(indexed.groupby(SETTING, sort=False)))
    rows = []
    for (model, policy, gap, latter), own in groups.items():
        row = {"model": model, "policy": policy, "gap": gap, "latter": latter}
        for figure in FIGURES:
            row[figure], row[f"{figure}_error"] = estimate(own[figure])
            compared = groups[model, reference, reference_gap, latter][figure]
            row[f"{figure}_reference"] = compared.mean()
            gain = (np.nan, np.nan, np.nan)
            if (policy, gap) != (reference, reference_gap):
                paired = own[figure] - compared
                gain = (paired.mean(), *interval(paired))
            row |= dict(zip((f"{figure}_gain{end}" for end in ("", "_low", "_high")), gain, strict=True))
        rows.append({**row, "frames_per_second": own["frames_per_second"].mean()})
    return pd.DataFrame(rows)


def estimate(values: pd.Series) -> tuple[float, float]:
    """Computes the mean over all objects, and its standard error with sequences as the independent units.

    Objects of one video share its frames and its memory. The mean is a ratio of two sums over the n
    sequences: of their summed values s_i and of their numbers of objects k_i. Its variance is
    n / (n - 1) * sum((s_i - mean k_i)^2) / (sum k_i)^2 (Cochran, Sampling Techniques, 1977, chapter 6).

    Args:
        values: by seed, sequence and object, from at least 2 sequences. Raises ``ValueError`` for a NaN.
    """
    sequences = _by_sequence(values)
    n, objects = len(sequences), len(values)
    residuals = sequences["sum"] - values.mean() * sequences["size"]
    return float(values.mean()), float((n / (n - 1) * (residuals**2).sum()) ** 0.5 / objects)


def interval(values: pd.Series) -> tuple[float, float]:
    """Computes the 95 % interval of the mean over all objects, by resampling sequences (bootstrap).

    ``values``: as for ``estimate``. The resamples are the same each time.
    """
    from scipy.stats import bootstrap  # takes a second to import

    sequences = _by_sequence(values)
    found = bootstrap(
        (sequences["sum"].to_numpy(), sequences["size"].to_numpy(float)),
        lambda sums, sizes, axis: sums.sum(axis=axis) / sizes.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        confidence_level=_CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _by_sequence(values: pd.Series) -> pd.DataFrame:
    if values.isna().any():
        raise ValueError("expected figures of the same objects under each policy")
    return values.groupby(level=["seed", "sequence"]).agg(["sum", "size"])


def markdown(table: pd.DataFrame, reference: str, reference_gap: int) -> str:
    """Formats the table of ``compare`` in Markdown; ``*`` marks intervals that do not contain 0."""
    to = f"{reference} at gap {reference_gap}"
    lines = [
        f"| model | policy | gap | bank | J | J_tr | J - {to} | J_tr - {to} | frames/s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in table.to_dict(orient="records"):
        bank = "all" if row["policy"] == "unbounded" else f"1 + {row['latter']}"
        cells = [row["model"], f"`{row['policy']}`", str(row["gap"]), bank]
        cells += [f"{row[figure]:.3f} ± {row[f'{figure}_error']:.3f}" for figure in FIGURES]
        cells += [_gain(row, figure) for figure in FIGURES]
        lines.append(f"| {' | '.join(cells)} | {row['frames_per_second']:.1f} |")
    return "\n".join(lines) + "\n"


def _gain(row: dict[str, float], figure: str) -> str:
    mean, low, high = (row[f"{figure}_gain{end}"] for end in ("", "_low", "_high"))
    if np.isnan(mean):
        return "–"
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]{'*' if low > 0 or high < 0 else ''}"
