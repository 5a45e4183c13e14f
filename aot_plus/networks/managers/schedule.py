"""Computes the learning rate and the share of committed predictions over training."""


def learning_rate(
    step: int, total: int, base: float, minimum: float, power: float, warm_up_ratio: float
) -> float:
    """Computes the learning rate of a step: linear warm-up, then polynomial decay.

    From ``minimum`` at step 0 to ``base`` after ``warm_up_ratio * total`` steps (in 0..1; rounded down), then
    ``minimum + (base - minimum) * (1 - progress) ** power``, back at ``minimum`` at step ``total`` and after.
    """
    warm_up = int(warm_up_ratio * total)
    if step < warm_up:
        return minimum + (base - minimum) * step / warm_up
    if step >= total:
        return minimum
    progress = (step - warm_up) / (total - warm_up)
    return minimum + float((base - minimum) * (1.0 - progress) ** power)


def encoder_learning_rate(rate: float, minimum: float, ratio: float) -> float:
    """Computes the encoder's learning rate, ``minimum + ratio * (rate - minimum)``."""
    return (rate - minimum) * ratio + minimum


def prediction_share(
    step: int, total: int, start_ratio: float, end_ratio: float, final_share: float
) -> float:
    """Computes the share of steps (0..1) around ``step`` that commit predictions instead of ground truth.

    It is 0 before ``start_ratio * total`` steps, rises linearly to ``final_share`` at ``end_ratio * total``,
    and stays there. If the end is not after the start, it jumps, as in the published recipe.
    """
    start, end = start_ratio * total, end_ratio * total
    if step < start:
        return 0.0
    return final_share if step >= end else final_share * (step - start) / (end - start)
