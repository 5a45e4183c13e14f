"""Builds policies by name: each chooses the frame that leaves a full long-term memory."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from aot_plus.networks.memory.policies.answers import ask_to_drop, ask_to_keep, policy_errors
from aot_plus.networks.memory.policies.base import Append, MemoryPolicy, ReadStatistics, is_replayable
from aot_plus.networks.memory.policies.emfs import EmfsPolicy
from aot_plus.networks.memory.policies.gate import WriteGate
from aot_plus.networks.memory.policies.lfu import LfuPolicy
from aot_plus.networks.memory.policies.readmem import ReadMemPolicy
from aot_plus.networks.memory.policies.relevance import RelevancePolicy, RunningRelevance
from aot_plus.networks.memory.policies.rmem import RMemPolicy
from aot_plus.networks.memory.policies.simple import FifoPolicy, RandomPolicy, UnboundedPolicy, UniformPolicy
from aot_plus.networks.memory.policies.spread import SpreadPolicy
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.own_classes import import_class

if TYPE_CHECKING:
    from aot_plus.configs import Config

__all__ = [
    "POLICIES",
    "Append",
    "EmfsPolicy",
    "FifoPolicy",
    "LfuPolicy",
    "MemoryPolicy",
    "RMemPolicy",
    "RandomPolicy",
    "ReadMemPolicy",
    "ReadStatistics",
    "RelevancePolicy",
    "RunningRelevance",
    "SpreadPolicy",
    "UnboundedPolicy",
    "UniformPolicy",
    "WriteGate",
    "ask_to_drop",
    "ask_to_keep",
    "build_policy",
    "is_replayable",
    "policy_errors",
]

POLICIES: dict[str, type[MemoryPolicy]] = {
    "unbounded": UnboundedPolicy,
    "fifo": FifoPolicy,
    "rmem": RMemPolicy,
    "emfs": EmfsPolicy,
    "random": RandomPolicy,
    "uniform": UniformPolicy,
    "spread": SpreadPolicy,
    "lfu": LfuPolicy,
    "readmem": ReadMemPolicy,
}


def build_policy(cfg: Config) -> MemoryPolicy:
    """Builds a fresh policy for one memory of one video; ``cfg.MEM_WRITE_GATE`` puts a write gate before it.

    ``cfg.MEM_POLICY`` is a name in ``POLICIES`` or ``"package.module:ClassName"``.

    Raises:
        ConfigError: no such policy (the message lists what exists), a value that the policy cannot use, or a
            user's own policy that cannot be built, or whose ``keep`` would never be called.
    """
    policy_class = _policy_class(cfg.MEM_POLICY)
    with policy_errors(cfg.MEM_POLICY):
        policy = policy_class(cfg)
    if policy_class.keep is not MemoryPolicy.keep and not _sets_may_decline(policy):
        name = cfg.MEM_POLICY
        raise ConfigError(f"MEM_POLICY: {name!r} defines keep, which is called only if may_decline is True")
    return WriteGate(cfg, policy) if cfg.MEM_WRITE_GATE else policy


def _sets_may_decline(policy: MemoryPolicy) -> bool:
    """Returns whether a policy or a class that it derives from chose a value, which may be False."""
    owners = (policy, *type(policy).__mro__)
    return any("may_decline" in vars(owner) for owner in owners if owner is not MemoryPolicy)


def _policy_class(name: str) -> type[MemoryPolicy]:
    if name in POLICIES:
        return POLICIES[name]
    if ":" in name:
        return _import_policy(name)
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
