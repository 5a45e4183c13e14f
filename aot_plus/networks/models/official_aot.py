"""Defines the AOT benchmark's AOT, which differs from AOT+ only in the blocks' short-term attention."""

from typing import cast

import torch
from torch import nn

from aot_plus.configs import Config
from aot_plus.networks.layers.official_aot_block import OfficialAOTBlock
from aot_plus.networks.layers.transformer import LSTT
from aot_plus.networks.models.aot import AOT


class OfficialAOT(AOT):
    """Implements AOT with windowed short-term attention."""

    def _build_transformer(self, cfg: Config) -> LSTT:
        channels = cfg.MODEL_ENCODER_EMBEDDING_DIM
        blocks = [
            OfficialAOTBlock(channels, cfg.MODEL_SELF_HEADS, cfg.MODEL_ATT_HEADS, cfg.TRAIN_LSTT_DROPPATH)
            for _ in range(cfg.MODEL_LSTT_NUM)
        ]
        transformer = LSTT(
            blocks, lambda: nn.LayerNorm(channels), norm_all=cfg.MODEL_DECODER_INTERMEDIATE_LSTT
        )
        # Part of the published checkpoints, but unused.
        transformer.mask_token = nn.Parameter(torch.zeros(1, 1, channels), requires_grad=False)
        return transformer

    def _initialise(self) -> None:
        super()._initialise()
        for block in self.LSTT.layers:
            nn.init.zeros_(cast(OfficialAOTBlock, block).short_term_attn.relative_emb_v)
