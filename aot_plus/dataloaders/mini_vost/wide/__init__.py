"""Wide MiniVOST: training videos that vary more than MiniVOST's own, in looks, sizes, motion and filming.

They are generated on the fly, for training only; what ``make_mini_vost`` writes is not of this kind.
"""

from aot_plus.dataloaders.mini_vost.wide.planning import (
    WideScene,
    plan_wide_scene,
    render_wide_frame,
    render_wide_ids,
)

__all__ = ["WideScene", "plan_wide_scene", "render_wide_frame", "render_wide_ids"]
