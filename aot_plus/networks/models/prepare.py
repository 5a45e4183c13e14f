"""Prepares a model for fast inference. Its weights may then differ from those of its checkpoint."""

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

# In these encoders, a norm registered right after a convolution also runs after it; elsewhere it may not.
_FOLDABLE = (MobileNetV2Encoder, ResNetEncoder)
_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def prepare_for_inference(model: Model, convolutions: torch.memory_format = torch.channels_last) -> Model:
    """Prepares a model, in place, for inference only; returns it in evaluation mode, without gradients.

    Batch norms of torchvision's encoders are folded into the convolutions before them, and on CUDA the
    convolutions of its ResNets are fused with their activations: results differ only by rounding. The weights
    of convolutions and the decoder's maps get the memory format ``convolutions``, by default that of the
    transformer's tokens. The state dict no longer matches any checkpoint: for training, use a model straight
    from ``build_model``. A second call changes nothing.
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
    """Sets the memory format of a model's convolution weights and of the decoder's maps, in place."""
    for module in model.modules():
        if isinstance(module, FPNDecoder):
            module.channels_last = convolutions == torch.channels_last
    model.to(memory_format=convolutions)


def compile_parts(model: AOT, key: str = "TEST_COMPILE") -> None:
    """Applies ``torch.compile`` to the parts that predict a frame: encoder, transformer and decoder.

    They are compiled on the first frame of each size. The transformer is compiled once more when the bank has
    its second frame, then for any number of frames. Raises ``ConfigError`` if nothing can be compiled here,
    for example without a C++ compiler. ``key``: the name of the config value, for the message.
    """
    try:
        torch.compile(torch.sin, backend=COMPILE_BACKEND)(
            torch.zeros(8, device=next(model.parameters()).device)
        )
    except Exception as error:  # any kind: each backend has its own
        reason = " ".join(str(error).partition("\n\n")[0].split())  # the rest is for PyTorch's developers
        raise ConfigError(f"{key}: torch.compile does not work here ({reason})") from error
    for part in (model.encoder, model.LSTT, model.decoder):
        part.compile(backend=COMPILE_BACKEND)


def _fold_batch_norms(module: nn.Module) -> None:
    """Folds each batch norm that is registered right after a convolution into it."""
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        if type(child) in _NORMS and isinstance(before, nn.Conv2d):  # a subclass may do more
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
    """Applies a convolution fused with its activation."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return conv_relu(self.conv, x)


class _ResidualBlock(nn.Module):
    """Runs a torchvision ResNet block with folded norms, and activations fused into its convolutions."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            conv for name, conv in block.named_children() if name.startswith("conv")
        )
        self.shortcut = block.downsample
        if block.downsample is not None:
            self.shortcut = block.downsample[0]
            with torch.no_grad():  # one bias for the sum of both
                self.convolutions[-1].bias += self.shortcut.bias
            self.shortcut.bias = None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        *first, last = (cast(nn.Conv2d, conv) for conv in self.convolutions)
        for conv in first:
            x = conv_relu(conv, x)
        return conv_relu(last, x, shortcut)


def _join_activations(encoder: ResNetEncoder) -> None:
    """Fuses the activations of a ResNet with folded norms into its convolutions, unless that is done."""
    if isinstance(encoder.conv1, nn.Conv2d) and encoder.conv1.bias is not None:
        encoder.conv1, encoder.relu = _ConvReLU(encoder.conv1), nn.Identity()
    for stage in (encoder.layer1, encoder.layer2, encoder.layer3):
        for name, block in list(stage.named_children()):
            folded = not any(isinstance(module, _NORMS) for module in block.modules())
            if type(block) in (BasicBlock, Bottleneck) and folded:
                setattr(stage, name, _ResidualBlock(block))
