"""Which parts of a network lead to the outputs of one stride alone: its heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fluxshard_core.reuse.level_keys import head_key, shape_key
from fluxshard_core.sparse.nodes import Node, TensorSpec


def find_branches(
    specs: Mapping[str, TensorSpec], nodes: Sequence[Node], outputs: Sequence[str]
) -> dict[str, int]:
    """Return the key (``reuse/level_keys.py``) of every tensor's branch, 0 in the trunk.

    What a detector's head of one stride computes is needed only near objects of the sizes it
    finds, and mask prototypes only on objects: both can be left stale elsewhere. A network whose
    outputs all have one stride has no branches. Shapes are told from heads by their one output,
    where a head has several, and by what they enlarge.
    """
    ends: dict[str, set[int]] = {name: {specs[name].stride} for name in outputs}
    if len(set().union(*ends.values())) < 2:
        return {}
    for node in reversed(nodes):
        reached = set().union(*(ends.get(name, set()) for name in node.outputs))
        for name in (*node.inputs, *node.outputs):
            ends.setdefault(name, set()).update(reached)
    alone = {name: next(iter(end)) for name, end in ends.items() if len(end) == 1}
    counts = Counter(specs[name].stride for name in outputs)
    single = {stride for stride, count in counts.items() if count == 1 < max(counts.values())}
    shapes = {
        stride for name, stride in alone.items() if stride in single and specs[name].stride > stride
    }
    return {
        name: shape_key(stride) if stride in shapes else head_key(stride)
        for name, stride in alone.items()
        if stride and specs[name].stride
    }
