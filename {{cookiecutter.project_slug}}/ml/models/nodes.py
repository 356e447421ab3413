"""The nodes that fit one model together: all draw the same chances, each takes its rows of a batch, gradients add up.

So the model is the one that a single node fits, but for the order in which numbers are summed.
"""

from typing import Any


class Nodes:
    """Those that `torch.distributed.run` started, as a runtime of Kubeflow Trainer lets it; else this process alone.

    `share` says which rows of each batch this node takes.
    """

    def __init__(self, torch: Any) -> None:
        group = torch.distributed
        self._group: Any = None
        if group.is_available() and group.is_torchelastic_launched():
            if not group.is_initialized():
                group.init_process_group("gloo")
            self._group = group
        alone = self._group is None
        self.share = slice(None) if alone else slice(group.get_rank(), None, group.get_world_size())

    def add(self, tensors: list[Any]) -> None:
        """Put the sum over all nodes into each tensor."""
        for tensor in tensors if self._group else ():
            self._group.all_reduce(tensor)

    def agree(self, tensor: Any) -> Any:
        """Return a tensor as the first node has it: nodes of different make may differ in its last digit."""
        if self._group:
            self._group.broadcast(tensor, 0)
        return tensor
