"""Networks for images."""

from lamina.vision.convnet import ConvNet
from lamina.vision.resnet import SmallResNet, small_resnet

__all__ = ["ConvNet", "SmallResNet", "small_resnet"]
