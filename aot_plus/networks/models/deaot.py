"""Defines DeAOT: AOT with a visual and an identity branch, other blocks and another decoder input."""

from torch import Tensor, nn

from aot_plus.configs import Config
from aot_plus.networks.layers.basic import TokenGroupNorm, to_map
from aot_plus.networks.layers.deaot_block import DeAOTBlock
from aot_plus.networks.layers.transformer import LSTT
from aot_plus.networks.models.aot import AOT, Features, Propagation


class DeAOT(AOT):
    """Uses gated propagation with a decoupled identity branch; the decoder reads only the last layer."""

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self.id_norm = nn.LayerNorm(cfg.MODEL_ENCODER_EMBEDDING_DIM)

    @property
    def key_width(self) -> int:
        """Returns D, the width of the long-term memory's keys: half the tokens' width."""
        return self.cfg.MODEL_ENCODER_EMBEDDING_DIM // 2

    @property
    def attention_heads(self) -> int:
        """Returns the number of heads of the long-term attention."""
        return 1

    def _build_transformer(self, cfg: Config) -> LSTT:
        channels = cfg.MODEL_ENCODER_EMBEDDING_DIM
        blocks = [
            DeAOTBlock(channels, cfg.TRAIN_LSTT_DROPPATH, first=index == 0)
            for index in range(cfg.MODEL_LSTT_NUM)
        ]
        return LSTT(
            blocks, lambda: TokenGroupNorm(2 * channels, 2), norm_all=cfg.MODEL_DECODER_INTERMEDIATE_LSTT
        )

    def _decoder_channels(self, cfg: Config) -> int:
        """Returns the number of channels of both branches of the last layer."""
        return 2 * cfg.MODEL_ENCODER_EMBEDDING_DIM

    def embed_identity(self, labels: Tensor, *, reference: bool) -> Tensor:
        """Embeds a mask like AOT and normalises the result."""
        return self.identity_dropout(self.id_norm(self.patch_wise_id_bank(labels, reference=reference)))

    def _decoder_input(self, features: Features, propagation: Propagation) -> Tensor:
        return to_map(propagation.outputs[-1], features.size)
