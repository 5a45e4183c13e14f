"""Puts a model into the form that is fastest to run. Its weights may no longer be those of its checkpoint."""

from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from aot_plus.networks.decoders.fpn import FPNDecoder
from aot_plus.networks.encoders import FrozenBatchNorm2d, MobileNetV2Encoder, ResNetEncoder
from aot_plus.networks.layers.basic import conv_relu
from aot_plus.networks.models import AOT
from aot_plus.utils.errors import ConfigError

__all__ = ["compile_parts", "prepare_for_inference", "use_convolution_format"]

Model = TypeVar("Model", bound=nn.Module)

COMPILE_BACKEND = "inductor"

# A norm registered right after a convolution follows it in these encoders; in others that need not be so.
_FOLDABLE = (MobileNetV2Encoder, ResNetEncoder)
_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def prepare_for_inference(model: Model, convolutions: torch.memory_format = torch.channels_last) -> Model:
    """Changes a model, in place, for inference only, and returns it in evaluation mode, without gradients.

    Batch norms of torchvision's encoders are folded into the convolutions before them, and on CUDA those of
    its ResNets take in their activations: results differ by rounding alone. Weights of convolutions and the
    decoder's maps take the format ``convolutions``, by default that of the transformer's tokens. The state
    dict afterwards fits no checkpoint: to train, take a model as ``build_model`` makes it. A second call
    changes nothing.
    """
    model.eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, _FOLDABLE):
            _fold_batch_norms(module)
            if isinstance(module, ResNetEncoder):
                _join_activations(module)
    use_convolution_format(model, convolutions)
    return model


def use_convolution_format(model: nn.Module, convolutions: torch.memory_format) -> None:
    """Puts the weights of a model's convolutions, and the decoder's maps, into a memory format, in place."""
    for module in model.modules():
        if isinstance(module, FPNDecoder):
            module.channels_last = convolutions == torch.channels_last
    model.to(memory_format=convolutions)


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


class _ConvReLU(nn.Module):
    """Applies a convolution with its activation."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return conv_relu(self.conv, x)


class _ResidualBlock(nn.Module):
    """Runs a block of torchvision's ResNets without its norms, with activations in its convolutions."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            conv for name, conv in block.named_children() if name.startswith("conv")
        )
        self.shortcut = block.downsample
        if block.downsample is not None:
            self.shortcut = block.downsample[0]
            with torch.no_grad():  # the sum of both has one bias
                self.convolutions[-1].bias += self.shortcut.bias
            self.shortcut.bias = None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        *first, last = (cast(nn.Conv2d, conv) for conv in self.convolutions)
        for conv in first:
            x = conv_relu(conv, x)
        return conv_relu(last, x, shortcut)


def _join_activations(encoder: ResNetEncoder) -> None:
    """Joins the activations of a ResNet whose norms are folded, once, with the convolutions before them."""
    if isinstance(encoder.conv1, nn.Conv2d) and encoder.conv1.bias is not None:
        encoder.conv1, encoder.relu = _ConvReLU(encoder.conv1), nn.Identity()
    for stage in (encoder.layer1, encoder.layer2, encoder.layer3):
        for name, block in list(stage.named_children()):
            folded = not any(isinstance(module, _NORMS) for module in block.modules())
            if type(block) in (BasicBlock, Bottleneck) and folded:
                setattr(stage, name, _ResidualBlock(block))
