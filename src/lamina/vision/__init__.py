"""Networks for images."""

from lamina.vision.resnet import SmallResNet, small_resnet

__all__ = ["SmallResNet", "small_resnet"]
