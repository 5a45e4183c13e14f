"""Defines AOT+: weights and forward functions. A model holds no state of the videos it processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aot_plus.configs import Config
from aot_plus.networks.decoders.fpn import FPNDecoder
from aot_plus.networks.encoders import build_encoder
from aot_plus.networks.encoders.base import levels_of
from aot_plus.networks.layers.aot_block import AOTBlock
from aot_plus.networks.layers.basic import to_map, to_tokens
from aot_plus.networks.layers.identity import IdentityBank
from aot_plus.networks.layers.memory_types import BlockContext, BlockFrame, KeyValue, LayerMemory, Reference
from aot_plus.networks.layers.position import sine_position_embedding, temporal_rows
from aot_plus.networks.layers.transformer import LSTT

STRIDE = 16


@dataclass(frozen=True)
class Features:
    """Holds one encoded frame. B is 1 in inference, where all groups of objects share the frame."""

    adapted: list[Tensor]  # for the decoder, at 1/4, 1/8, 1/16: B x c x . x .
    projected: Tensor  # B x C x h x w
    position: Tensor  # 1 x N x C

    @property
    def size(self) -> tuple[int, int]:
        """Returns ``(h, w)`` at 1/16."""
        height, width = self.projected.shape[2:]
        return height, width


@dataclass(frozen=True)
class Propagation:
    """Holds the transformer's results for a frame."""

    outputs: list[Tensor]  # of each layer: G x N x C, DeAOT G x N x 2C
    kept: list[BlockFrame]  # of each layer, needed until the frame is bound to its mask

    @property
    def first_keys(self) -> Tensor:
        """Returns layer 0's keys, which are also its queries, without temporal embedding: ``G x N x D``."""
        return self.kept[0].keys


class AOT(nn.Module):
    """Implements AOT+ with a patch-wise identity bank; temporal embedding and ignore token are optional."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        channels = cfg.MODEL_ENCODER_EMBEDDING_DIM
        self.num_ids = cfg.MODEL_MAX_OBJ_NUM + 1  # including the background
        self.encoder = build_encoder(
            cfg.MODEL_ENCODER, freeze_bn=cfg.MODEL_FREEZE_BN, align_corners=cfg.MODEL_ALIGN_CORNERS
        )
        self.encoder_projector = nn.Conv2d(self.encoder.channels[-1], channels, 1)
        self.LSTT = self._build_transformer(cfg)
        self.decoder = FPNDecoder(
            self._decoder_channels(cfg),
            self.num_ids,
            channels,
            self.encoder.channels,
            align_corners=cfg.MODEL_ALIGN_CORNERS,
        )
        self.patch_wise_id_bank = IdentityBank(
            self.num_ids,
            channels,
            STRIDE,
            overlap=cfg.MODEL_ALIGN_CORNERS,
            ignores=cfg.MODEL_IGNORE_TOKEN,
        )
        self.embedding_dropout = nn.Dropout(cfg.TRAIN_LSTT_EMB_DROPOUT)
        self.identity_dropout = nn.Dropout(cfg.TRAIN_LSTT_ID_DROPOUT)
        self.cur_pos_emb: nn.Parameter | None = None
        self.mem_pos_emb: nn.Parameter | None = None
        if cfg.USE_TEMPORAL_POSITIONAL_EMBEDDING:
            slots = 4 if cfg.TEMPORAL_POSITIONAL_EMBEDDING_SLOT_4 else 2
            self.cur_pos_emb = nn.Parameter(torch.zeros(1, self.key_width))
            self.mem_pos_emb = nn.Parameter(torch.zeros(slots, self.key_width))
        self._initialise()

    @property
    def number_format(self) -> torch.dtype:
        """Returns the type of weights and activations (``number_format.py``)."""
        return self.encoder_projector.weight.dtype

    @property
    def key_width(self) -> int:
        """Returns D, the width of the long-term memory's keys."""
        return self.cfg.MODEL_ENCODER_EMBEDDING_DIM

    @property
    def attention_heads(self) -> int:
        """Returns the number of heads of the long-term attention."""
        return self.cfg.MODEL_ATT_HEADS

    def _build_transformer(self, cfg: Config) -> LSTT:
        channels = cfg.MODEL_ENCODER_EMBEDDING_DIM
        blocks = [
            AOTBlock(
                channels,
                cfg.MODEL_SELF_HEADS,
                cfg.MODEL_ATT_HEADS,
                cfg.TRAIN_LSTT_DROPPATH,
                linear_q=cfg.MODEL_LINEAR_Q,
            )
            for _ in range(cfg.MODEL_LSTT_NUM)
        ]
        return LSTT(blocks, lambda: nn.LayerNorm(channels), norm_all=cfg.MODEL_DECODER_INTERMEDIATE_LSTT)

    def _decoder_channels(self, cfg: Config) -> int:
        """Returns the number of channels of the encoder's map and the layer outputs, concatenated."""
        read = cfg.MODEL_LSTT_NUM if cfg.MODEL_DECODER_INTERMEDIATE_LSTT else 1
        return cfg.MODEL_ENCODER_EMBEDDING_DIM * (read + 1)

    def _initialise(self) -> None:
        for module in (self.LSTT, self.decoder):
            for parameter in module.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
        nn.init.orthogonal_(self.encoder_projector.weight)
        # The embedding of a patch sums over its pixels: the gain keeps it at the scale of one pixel.
        kernel = self.patch_wise_id_bank.kernel_size[0]
        nn.init.orthogonal_(self.patch_wise_id_bank.weight, gain=kernel**-2)
        for embedding in (self.cur_pos_emb, self.mem_pos_emb):
            if embedding is not None:
                nn.init.trunc_normal_(embedding, std=0.05)

    def encode(self, images: Tensor) -> Features:
        """Encodes normalised RGB images ``B x 3 x H x W``, float32.

        Sides are 16k+1 (16k without ``MODEL_ALIGN_CORNERS``). Raises ``ConfigError`` if the encoder is not
        the project's and fails at this size.
        """
        levels = levels_of(self.encoder, self.cfg.MODEL_ENCODER, images.to(self.number_format))
        projected = self.encoder_projector(levels[3])
        height, width = projected.shape[2:]
        position = sine_position_embedding(height, width, projected.shape[1], images.device)
        return Features(self.decoder.adapt(levels[:3]), projected, position.to(projected.dtype))

    def embed_identity(self, labels: Tensor, *, reference: bool) -> Tensor:
        """Embeds a mask as ``G x N x C``.

        Args:
            labels: ``G x H x W`` integers: 0 background, 1..M objects, 255 ignored. Ignored pixels set no id.
            reference: whether the frame is a reference frame, whose ignore channel stays empty.
        """
        return self.identity_dropout(self.patch_wise_id_bank(labels, reference=reference))

    def propagate_reference(self, features: Features, identity: Tensor) -> Propagation:
        """Passes a reference frame, bound with ``identity`` (``G x N x C``), through the transformer."""
        reference = Reference(identity, self.memory_embedding(1))
        return self._transform(features, identity.shape[0], reference)

    def propagate(self, features: Features, memory: Sequence[LayerMemory]) -> Propagation:
        """Passes a frame through the transformer. ``memory``: each layer's memory, for G groups."""
        return self._transform(features, memory[0].short.keys.shape[0], memory)

    def _transform(
        self, features: Features, groups: int, memory: Sequence[LayerMemory] | Reference
    ) -> Propagation:
        # The blocks' sums keep this memory layout; with that of a map, every sum and norm would be strided.
        tokens = self.embedding_dropout(to_tokens(features.projected).contiguous())
        context = BlockContext(features.size, groups, features.position, self.cur_pos_emb)
        return Propagation(*self.LSTT(tokens, context, memory))

    def bind_long(self, propagation: Propagation, identity: Tensor) -> list[KeyValue]:
        """Binds a frame to its embedded mask (``G x N x C``); returns each layer's long-term entry."""
        return self.LSTT.bind_long(propagation.kept, identity)

    def bind_short(self, propagation: Propagation, identity: Tensor) -> list[KeyValue]:
        """Binds a frame to its embedded mask (``G x N x C``); returns each layer's short-term memory."""
        return self.LSTT.bind_short(propagation.kept, identity)

    def memory_embedding(self, num_frames: int) -> Tensor | None:
        """Returns the temporal embedding of T memory frames, oldest first (``T x D``); None if it is off."""
        return None if self.mem_pos_emb is None else temporal_rows(self.mem_pos_emb, num_frames)

    def decode(self, features: Features, propagation: Propagation) -> Tensor:
        """Predicts logits of background and M objects, ``G x (M+1) x H/4 x W/4``."""
        return self.decoder(self._decoder_input(features, propagation), features.adapted)

    def _decoder_input(self, features: Features, propagation: Propagation) -> Tensor:
        outputs = (
            propagation.outputs if self.cfg.MODEL_DECODER_INTERMEDIATE_LSTT else propagation.outputs[-1:]
        )
        encoded = to_tokens(features.projected).expand(outputs[0].shape[0], -1, -1)
        return to_map(torch.cat([encoded, *outputs], dim=2), features.size)


def input_size(height: float, width: float, *, align_corners: bool) -> tuple[int, int]:
    """Rounds sides to the nearest 16k+1 (16k without ``align_corners``), k >= 1; ties go to the even k."""
    extra = int(align_corners)

    def nearest(side: float) -> int:
        return max(round((side - extra) / STRIDE), 1) * STRIDE + extra

    return nearest(height), nearest(width)
