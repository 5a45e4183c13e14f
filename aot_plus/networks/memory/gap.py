"""Computes the number of frames between two writes to the long-term memory."""

from aot_plus.configs import Config


def memory_gap(cfg: Config, num_frames: int | None) -> int:
    """Returns the number of frames between two writes to the bank, for ``num_frames`` in all (None: unknown).

    ``TEST_MEM_GAP_BY_LENGTH`` selects the rule of the published VOST evaluation: ``max(round(num_frames /
    TEST_MEM_GAP_PARTS), TEST_MEM_GAP_MIN)``, where ``round`` rounds half to even.
    """
    if not cfg.TEST_MEM_GAP_BY_LENGTH:
        return cfg.TEST_LONG_TERM_MEM_GAP
    return max(round((num_frames or 0) / cfg.TEST_MEM_GAP_PARTS), cfg.TEST_MEM_GAP_MIN)
