"""A model in the form that is fastest to run. Its weights may no longer be those of its checkpoint."""

from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from aot_plus.networks.decoders.fpn import FPNDecoder
from aot_plus.networks.encoders import FrozenBatchNorm2d, MobileNetV2Encoder, ResNetEncoder
from aot_plus.networks.models import AOT
from aot_plus.utils.errors import ConfigError

__all__ = ["compile_parts", "prepare_for_inference"]

Model = TypeVar("Model", bound=nn.Module)

COMPILE_BACKEND = "inductor"

# A norm registered right after a convolution follows it in these encoders; in others that need not be so.
_FOLDABLE = (MobileNetV2Encoder, ResNetEncoder)
_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def prepare_for_inference(model: Model, convolutions: torch.memory_format = torch.channels_last) -> Model:
    """Changes a model, in place, for inference only, and returns it in evaluation mode, without gradients.

    Batch norms of torchvision's encoders are folded into the convolutions before them, so results differ by
    rounding alone; weights of convolutions and the decoder's maps take the format ``convolutions``, by
    default that of the transformer's tokens. The state dict afterwards fits no checkpoint: to train, take a
    model as ``build_model`` makes it. A second call changes nothing.
    """
    model.eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, _FOLDABLE):
            _fold_batch_norms(module)
        elif isinstance(module, FPNDecoder):
            module.map_format = convolutions
    model.to(memory_format=convolutions)
    return model


def compile_parts(model: AOT, key: str = "TEST_COMPILE") -> None:
    """Has ``torch.compile`` work on all that predicts a frame: encoder, transformer and decoder.

    They are compiled when they first see a size; the transformer again when the bank has its second frame,
    and from then on for any number of frames. Raises ``ConfigError`` where nothing can be compiled, for want
    of a C++ compiler for instance; ``key``: the config's, for the message.
    """
    try:
        torch.compile(torch.sin, backend=COMPILE_BACKEND)(
            torch.zeros(8, device=next(model.parameters()).device)
        )
    except Exception as error:  # of any kind: each backend has its own
        reason = " ".join(str(error).partition("\n\n")[0].split())  # what follows is for PyTorch's developers
        raise ConfigError(f"{key}: torch.compile does not work here ({reason})") from error
    for part in (model.encoder, model.LSTT, model.decoder):
        part.compile(backend=COMPILE_BACKEND)


def _fold_batch_norms(module: nn.Module) -> None:
    """Folds each batch norm that is registered right after a convolution."""
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        if type(child) in _NORMS and isinstance(before, nn.Conv2d):  # a derived norm may do more
            _fold(before, child)
            setattr(module, name, nn.Identity())
        else:
            _fold_batch_norms(child)
        before = child


def _fold(conv: nn.Conv2d, norm: nn.Module) -> None:
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)  # type: ignore[arg-type]
    conv.requires_grad_(False)
