"""A downsampling residual block whose shortcut is a 1×1 convolution, then one with an identity."""

from torch import Tensor, nn


class ProjectionShortcut(nn.Module):
    """Takes image (batch, 3, 16, 16); returns fc (batch, 10)."""

    def __init__(self, c: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, c, 3, padding=1, bias=False)
        self.conv1 = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(2 * c)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(2 * c, 2 * c, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * c)
        self.shortcut = nn.Conv2d(c, 2 * c, 1, stride=2, bias=False)
        self.shortcut_bn = nn.BatchNorm2d(2 * c)
        self.y1 = nn.ReLU()
        self.conv3 = nn.Conv2d(2 * c, 2 * c, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * c)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(2 * c, 2 * c, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(2 * c)
        self.y2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(2 * c, classes)

    def forward(self, image: Tensor) -> Tensor:
        stem = self.stem(image)
        relu = self.relu1(self.bn1(self.conv1(stem)))
        y = self.y1(self.bn2(self.conv2(relu)) + self.shortcut_bn(self.shortcut(stem)))
        relu = self.relu3(self.bn3(self.conv3(y)))
        y = self.y2(self.bn4(self.conv4(relu)) + y)
        return self.fc(self.flatten(self.pool(y)))
