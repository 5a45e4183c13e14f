"""Policies by name: each chooses the frame that leaves a full long-term memory."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy, ReadStatistics
from aot_plus.networks.memory.policies.emfs import EmfsPolicy
from aot_plus.networks.memory.policies.relevance import RelevancePolicy, RunningRelevance
from aot_plus.networks.memory.policies.rmem import RMemPolicy
from aot_plus.networks.memory.policies.simple import FifoPolicy, RandomPolicy, UnboundedPolicy, UniformPolicy
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.own_classes import import_class

if TYPE_CHECKING:
    from aot_plus.configs import Config

__all__ = [
    "POLICIES",
    "Append",
    "EmfsPolicy",
    "FifoPolicy",
    "MemoryPolicy",
    "RMemPolicy",
    "RandomPolicy",
    "ReadStatistics",
    "RelevancePolicy",
    "RunningRelevance",
    "UnboundedPolicy",
    "UniformPolicy",
    "build_policy",
]

POLICIES: dict[str, type[MemoryPolicy]] = {
    "unbounded": UnboundedPolicy,
    "fifo": FifoPolicy,
    "rmem": RMemPolicy,
    "emfs": EmfsPolicy,
    "random": RandomPolicy,
    "uniform": UniformPolicy,
}


def build_policy(cfg: Config) -> MemoryPolicy:
    """Builds a fresh policy for one memory of one video.

    ``cfg.MEM_POLICY`` is a name of ``POLICIES`` or ``"package.module:ClassName"``.

    Raises:
        ConfigError: no such policy (the message lists what exists), or a value that the policy cannot use.
    """
    name = cfg.MEM_POLICY
    if name in POLICIES:
        return POLICIES[name](cfg)
    if ":" in name:
        return _import_policy(name)(cfg)
    raise ConfigError(
        f'MEM_POLICY: expected one of {", ".join(POLICIES)} or "package.module:ClassName", found {name!r}'
    )


def _import_policy(path: str) -> type[MemoryPolicy]:
    """Imports the policy class at ``package.module:ClassName``."""
    policy = import_class(path, "MEM_POLICY")
    if not issubclass(policy, MemoryPolicy):
        raise ConfigError(
            f"MEM_POLICY: expected a subclass of MemoryPolicy, found {path!r}, which is {policy!r}"
        )
    if inspect.isabstract(policy):
        missing = ", ".join(sorted(policy.__abstractmethods__))
        raise ConfigError(f"MEM_POLICY: {path!r} does not define {missing}")
    return policy
