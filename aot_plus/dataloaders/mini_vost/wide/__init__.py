"""Makes wide MiniVOST: training videos that vary more than MiniVOST in looks, sizes, motion and filming.

They are drawn on the fly, for training only; ``make_mini_vost`` does not write them.
"""

from aot_plus.dataloaders.mini_vost.wide.planning import plan_wide_scene

__all__ = ["plan_wide_scene"]
