"""A chain of layers that is built from sizes of its own."""

from collections import OrderedDict

from torch import nn


class NamedChain(nn.Sequential):
    """A named chain whose slices are plain ``nn.Sequential``s: a slice cannot be built from a network's sizes."""

    def __getitem__(self, index: slice | int) -> nn.Module:
        """Return one module, or a slice as an ``nn.Sequential`` under the same names.

        Returns:
            A module that shares this one's weights.
        """
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[index]))
        return list(self.children())[index]
