"""ResNet-50 v1.5; state_dict keys as in torchvision."""

import torch
from torch import Tensor, nn


class Projection(nn.Sequential):
    def __init__(self, in_channels: int, c: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(in_channels, c, 1, stride=stride, bias=False), nn.BatchNorm2d(c))


class Bottleneck(nn.Module):
    def __init__(
        self, in_channels: int, w: int, stride: int = 1, project: bool = False, *, lam: float = 1.0
    ) -> None:
        super().__init__()
        self.lam = lam
        self.conv1 = nn.Conv2d(in_channels, w, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(w, w, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(w)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(w, 4 * w, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * w)
        self.downsample = Projection(in_channels, 4 * w, stride) if project else nn.Identity()
        self.out = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        relu = self.relu1(self.bn1(self.conv1(x)))
        relu = self.relu2(self.bn2(self.conv2(relu)))
        return self.out(torch.add(self.bn3(self.conv3(relu)), self.downsample(x), alpha=self.lam))


class Resnet50(nn.Module):
    """Takes x (batch, 3, 224, 224); returns fc (batch, 1000)."""

    def __init__(self, classes: int = 1000, lam: float = 1.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(
            Bottleneck(64, 64, project=True, lam=lam),
            *(Bottleneck(256, 64, lam=lam) for _ in range(2)),
        )
        self.layer2 = nn.Sequential(
            Bottleneck(256, 128, stride=2, project=True, lam=lam),
            *(Bottleneck(512, 128, lam=lam) for _ in range(3)),
        )
        self.layer3 = nn.Sequential(
            Bottleneck(512, 256, stride=2, project=True, lam=lam),
            *(Bottleneck(1024, 256, lam=lam) for _ in range(5)),
        )
        self.layer4 = nn.Sequential(
            Bottleneck(1024, 512, stride=2, project=True, lam=lam),
            *(Bottleneck(2048, 512, lam=lam) for _ in range(2)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(self.maxpool(x))
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.flatten(self.avgpool(self.layer4(x)))
        return self.fc(x)
