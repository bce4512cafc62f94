# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""The networks that HarDNet is published against: torchvision's where that is installed and works, else our own."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from hardnet_deploy.bench.rival_table import RIVALS
from hardnet_deploy.errors import UsageError

SEED: Final = 0
OWN_SOURCE: Final = "hardnet-deploy's own definition"


def load_network(name: str) -> tuple[nn.Module, str]:
    """A rival in eval mode with weights drawn from a seed, and where its definition comes from.

    Args:
        name: Of :data:`RIVALS`.

    Returns:
        A network from [N, 3, S, S] to logits [N, 1000], and ``torchvision VERSION`` or our own definition.

    Raises:
        UsageError: There is no such rival.
    """
    if name not in RIVALS:
        raise UsageError(f"there is no rival called '{name}'", wanted=", ".join(RIVALS))
    found = _torchvision(name)
    network, source = found or (own_network(name), OWN_SOURCE)
    draw_weights(network)
    return network.eval(), source


def _torchvision(name: str) -> tuple[nn.Module, str] | None:
    """None where torchvision is missing, or is there and does not work with this torch."""
    try:
        import torchvision
        from torchvision import models

        build: Any = getattr(models, name.partition("_1.4")[0])
        options = {"width_mult": 1.4} if name.endswith("_1.4") else {}
        with torch.random.fork_rng(devices=[]):
            return build(weights=None, **options), f"torchvision {torchvision.__version__}"
    except Exception:  # noqa: BLE001 - a torchvision built for another torch raises anything, at import or later
        return None


def own_network(name: str) -> nn.Module:
    """Our definition of a rival, with the state_dict keys of torchvision's."""
    with torch.random.fork_rng(devices=[]):
        if name == "vgg16":
            return _Vgg16()
        if name.startswith("mobilenet"):
            return _MobileNetV2(1.4 if name.endswith("_1.4") else 1.0)
        return _ResNet((3, 4, 6, 3) if name == "resnet50" else (3, 4, 23, 3))


def draw_weights(network: nn.Module) -> None:
    """Fill a rival from a seed, in place: He normal weights, batch norms at rest.

    The last batch norm of a residual branch, ``bn3`` of ResNets, gets a quarter as its scale: with 1 the variance would
    double in each of 33 blocks and leave float16.
    """
    draw = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for path, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight.numel() // module.weight.shape[0]
                module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=draw)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(0.25 if path.endswith("bn3") else 1.0)


class _Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width, and the input added (torchvision's "v1.5")."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += shortcut
        return self.relu(y)  # type: ignore[no-any-return]  # nn.Module's call is Any


class _ResNet(nn.Module):
    """arXiv 1512.03385, with ``blocks`` bottlenecks in the four stages."""

    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for stage, count in enumerate(blocks):
            width, stride = 64 * 2**stage, 1 if stage == 0 else 2
            layers = []
            for index in range(count):
                layers.append(_Bottleneck(channels, width, stride if index == 0 else 1))
                channels = 4 * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]  # nn.Module's call is Any


class _Vgg16(nn.Module):
    """arXiv 1409.1556, configuration D, without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2, stride=2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 1000),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]  # nn.Module's call is Any


def _conv6(channels: int, width: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU6(inplace=True))


class _InvertedResidual(nn.Module):
    """1x1 to ``expand`` times the width, depthwise 3x3, linear 1x1; the input is added where shapes allow."""

    def __init__(self, channels: int, width: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = channels * expand
        layers: list[nn.Module] = [] if expand == 1 else [_conv6(channels, inner)]
        layers.append(_conv6(inner, inner, kernel=3, stride=stride, groups=inner))
        layers += [nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)]
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.adds else y


class _MobileNetV2(nn.Module):
    """arXiv 1801.04381; widths times ``multiplier``, rounded to multiples of 8 and never under 90 %."""

    _STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, multiplier: float) -> None:
        super().__init__()
        channels = _rounded(32 * multiplier)
        layers: list[nn.Module] = [_conv6(3, channels, kernel=3, stride=2)]
        for expand, width, count, stride in self._STAGES:
            for index in range(count):
                out = _rounded(width * multiplier)
                layers.append(_InvertedResidual(channels, out, stride if index == 0 else 1, expand))
                channels = out
        last = _rounded(1280 * max(1.0, multiplier))
        layers.append(_conv6(channels, last))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, 1000))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]  # nn.Module's call is Any


def _rounded(width: float) -> int:
    nearest = max(8, int(width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * width else nearest
