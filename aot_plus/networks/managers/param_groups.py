"""Builds and resumes AdamW's parameter groups, freezes part of the encoder, and sets learning rates."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from aot_plus.networks.managers.schedule import encoder_learning_rate
from aot_plus.utils.errors import ConfigError

ENCODER = "encoder"
SEQUENTIAL_FREEZE = "sequential_freeze"
MAIN = "main"


def freeze_encoder(encoder: nn.Module, freeze_at: int) -> list[str]:
    """Freezes the first ``freeze_at`` of the encoder's ``stages``; returns the frozen parameters' names.

    Stage 1 is the stem, stage 2 what follows at 1/4 of the size (ResNet's ``layer1``), and so on; 0 freezes
    nothing. Raises ``ConfigError`` if the encoder does not have that many stages.
    """
    stages: Sequence[Sequence[str]] = getattr(encoder, "stages", ())
    if not 0 <= freeze_at <= len(stages):
        raise ConfigError(
            f"TRAIN_ENCODER_FREEZE_AT: expected 0..{len(stages)}, the number of stages that "
            f"{type(encoder).__name__} names, found {freeze_at}"
        )
    modules = [module for stage in stages[:freeze_at] for module in stage]
    frozen = []
    for name, parameter in encoder.named_parameters():
        if any(name.startswith(f"{module}.") for module in modules):
            parameter.requires_grad_(False)
            frozen.append(name)
    return frozen


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    decay_exempt: Sequence[str],
    sequential_freeze: Sequence[str],
) -> list[dict[str, Any]]:
    """Groups the trainable parameters of ``model`` for AdamW.

    Biases and norms (all parameters of at most one dimension) have no weight decay, nor do parameters whose
    name contains an entry of ``decay_exempt`` (such as ``conv_out``). Each group has, besides ``params`` and
    ``weight_decay``, a ``role`` that ``set_rates`` reads: ``"encoder"`` (the module ``encoder``),
    ``"sequential_freeze"`` (the name contains an entry of ``sequential_freeze``: no learning while
    predictions are committed) or ``"main"``. Raises ``ConfigError`` for an entry of ``sequential_freeze``
    that no name contains; ``decay_exempt`` is not checked, since it lists names of several models.
    """
    _require_names(model, "TRAIN_SEQ_TRAINING_FREEZE_PARAMS", sequential_freeze)
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not _contains_any(name, decay_exempt)
        role = _role(name, sequential_freeze)
        decay = weight_decay if decays else 0.0
        new: dict[str, Any] = {"params": [], "role": role, "weight_decay": decay, "base_weight_decay": decay}
        groups.setdefault((role, decays), new)["params"].append(parameter)
    return list(groups.values())


def resumed_groups(saved: Sequence[Mapping[str, Any]], own: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns saved groups that an optimizer with the groups ``own`` can load.

    Values that the config or the device decides are those of ``own``. Raises ``ValueError`` if sizes differ.
    """
    found, expected = ([len(group["params"]) for group in groups] for groups in (saved, own))
    if found != expected:
        raise ValueError(
            f"expected groups of {expected} weights in the optimizer, found {found}: the trainable "
            "weights, TRAIN_WEIGHT_DECAY_EXEMPTION and TRAIN_SEQ_TRAINING_FREEZE_PARAMS must not change"
        )
    kept = ("role", "base_weight_decay", "fused")  # ``fused`` decides where step counts are kept
    return [{**group, **{name: mine[name] for name in kept}} for group, mine in zip(saved, own, strict=True)]


def set_rates(
    optimizer: Optimizer, rate: float, minimum: float, encoder_ratio: float, *, sequential: bool
) -> None:
    """Sets every group's learning rate and weight decay for the next step.

    ``rate`` is the schedule's, ``minimum`` its minimum, ``encoder_ratio`` as in ``encoder_learning_rate``.
    With ``sequential`` (predictions are committed), ``"sequential_freeze"`` groups get rate and decay 0.
    """
    for group in optimizer.param_groups:
        frozen = sequential and group["role"] == SEQUENTIAL_FREEZE
        encoder_rate = encoder_learning_rate(rate, minimum, encoder_ratio)
        group["lr"] = 0.0 if frozen else encoder_rate if group["role"] == ENCODER else rate
        group["weight_decay"] = 0.0 if frozen else group["base_weight_decay"]


def _role(name: str, sequential_freeze: Sequence[str]) -> str:
    """Returns the role of the parameter called ``name``."""
    if _contains_any(name, sequential_freeze):
        return SEQUENTIAL_FREEZE
    return ENCODER if name.startswith("encoder.") else MAIN


def _contains_any(name: str, parts: Sequence[str]) -> bool:
    """Returns whether the ``name`` of a parameter contains one of ``parts``."""
    return any(part in name for part in parts)


def _require_names(model: nn.Module, key: str, parts: Sequence[str]) -> None:
    """Raises ``ConfigError`` for an entry of the config's ``key`` that no parameter's name contains."""
    names = [name for name, _ in model.named_parameters()]
    for part in parts:
        if not part or not any(part in name for name in names):
            raise ConfigError(f"{key}: expected parts of names of the model's parameters, found {part!r}")
