"""Makes MiniVOST: videos of objects that are cut, torn, squashed, recoloured or hidden, in VOST's layout.

``render_sequence`` draws a whole video. In training, ``plan_scene`` and ``render_frame`` draw only the frames
of a clip, on the fly. ``make_dataset`` and ``write_sequence`` write sequences to disk.
"""

from aot_plus.dataloaders.mini_vost.planning import GENERATOR_VERSION, SPLIT_NAMES, plan_scene
from aot_plus.dataloaders.mini_vost.render import render_frame, render_ids
from aot_plus.dataloaders.mini_vost.scene import Scene
from aot_plus.dataloaders.mini_vost.sequence import RenderedSequence, render_sequence
from aot_plus.dataloaders.mini_vost.writer import make_dataset, write_sequence

__all__ = [
    "GENERATOR_VERSION",
    "SPLIT_NAMES",
    "RenderedSequence",
    "Scene",
    "make_dataset",
    "plan_scene",
    "render_frame",
    "render_ids",
    "render_sequence",
    "write_sequence",
]
