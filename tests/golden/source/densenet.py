"""DenseNet-BC of 121, 161, 169 or 201 layers."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DenseLayer(nn.Sequential):
    def __init__(self, in_channels: int, *, k: int = 32) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, 4 * k, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * k)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * k, k, 3, padding=1, bias=False)


class Denseblock(nn.ModuleDict):
    def __init__(self, in_channels: int, n: int, *, k: int = 32) -> None:
        super().__init__(
            {f"denselayer{i + 1}": DenseLayer(in_channels + i * k, k=k) for i in range(n)}
        )

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for dense_layer in self.values():
            features.append(dense_layer(torch.cat(features, dim=1)))
        return torch.cat(features, dim=1)


class Transition(nn.Sequential):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)
        self.pool = nn.AvgPool2d(2)


class Densenet(nn.Module):
    """Takes x (batch, 3, 224, 224); returns classifier (batch, 1000)."""

    def __init__(
        self, units: Sequence[int] = (6, 12, 24, 16), k: int = 32, classes: int = 1000
    ) -> None:
        super().__init__()
        channels = 2 * k + units[0] * k
        channels2 = channels // 2 + units[1] * k
        channels3 = channels2 // 2 + units[2] * k
        channels4 = channels3 // 2 + units[3] * k
        self.features = nn.Sequential(
            OrderedDict(
                conv0=nn.Conv2d(3, 2 * k, 7, stride=2, padding=3, bias=False),
                norm0=nn.BatchNorm2d(2 * k),
                relu0=nn.ReLU(inplace=True),
                pool0=nn.MaxPool2d(3, stride=2, padding=1),
                denseblock1=Denseblock(2 * k, units[0], k=k),
                transition1=Transition(channels),
                denseblock2=Denseblock(channels // 2, units[1], k=k),
                transition2=Transition(channels2),
                denseblock3=Denseblock(channels2 // 2, units[2], k=k),
                transition3=Transition(channels3),
                denseblock4=Denseblock(channels3 // 2, units[3], k=k),
                norm5=nn.BatchNorm2d(channels4),
            ),
        )
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels4, classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.relu(self.features(x)))
        return self.classifier(self.flatten(x))
