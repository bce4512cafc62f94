"""The loss against a plain reading of the paper, and what must not matter to it."""

import math

import pytest
import torch
from torch.nn import functional

from hardnet_deploy.train.loss import multibox_loss

ROUNDING = 1e-5  # float32 sums in another order


def _case(seed: int, matched: tuple[int, ...], priors: int = 40) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    images = len(matched)
    loc, offsets = torch.randn(images, priors, 4, generator=draw), torch.randn(images, priors, 4, generator=draw)
    conf = torch.randn(images, priors, 5, generator=draw)
    classes = torch.zeros(images, priors, dtype=torch.int64)
    for row, count in enumerate(matched):
        where = torch.randperm(priors, generator=draw)[:count]
        classes[row, where] = torch.randint(1, 5, (count,), generator=draw)
    return loc, conf, offsets, classes


def _plain(loc: torch.Tensor, conf: torch.Tensor, offsets: torch.Tensor, classes: torch.Tensor) -> tuple[float, float]:
    location = confidence = 0.0
    total = int((classes > 0).sum())
    for image in range(len(classes)):
        losses = functional.cross_entropy(conf[image], classes[image], reduction="none")
        positive = [row for row in range(classes.shape[1]) if classes[image, row] > 0]
        negative = sorted(
            (float(losses[row]) for row in range(classes.shape[1]) if classes[image, row] == 0), reverse=True
        )
        confidence += sum(float(losses[row]) for row in positive) + sum(negative[: 3 * len(positive)])
        for row in positive:
            for error in (loc[image, row] - offsets[image, row]).abs().tolist():
                location += 0.5 * error**2 if error < 1 else error - 0.5
    return location / max(total, 1), confidence / max(total, 1)


@pytest.mark.parametrize("matched", [(3,), (1, 7), (5, 0, 2), (0, 0), (15, 2)])
def test_the_loss_is_the_papers(matched: tuple[int, ...]) -> None:
    case = _case(sum(matched), matched)
    loss = multibox_loss(*case)
    location, confidence = _plain(*case)
    assert loss.matched == sum(matched)
    assert float(loss.location) == pytest.approx(location, rel=ROUNDING)
    assert float(loss.confidence) == pytest.approx(confidence, rel=ROUNDING)
    assert float(loss.total) == pytest.approx(location + confidence, rel=ROUNDING)


def test_offsets_of_background_do_not_matter() -> None:
    loc, conf, offsets, classes = _case(3, (4, 2))
    before = multibox_loss(loc, conf, offsets, classes)
    offsets[classes == 0] = math.nan
    after = multibox_loss(loc, conf, offsets, classes)
    assert torch.equal(before.total, after.total)


def test_a_small_beta_weighs_small_errors_of_boxes_by_their_size() -> None:
    loc, conf, offsets, classes = _case(4, (6,))
    beta = 1e-3
    found = multibox_loss(loc, conf, offsets, classes, location_beta=beta)
    errors = (loc - offsets)[classes > 0].abs()
    assert (errors > beta).all()
    assert float(found.location) == pytest.approx(float((errors - beta / 2).sum() / 6), rel=ROUNDING)
    assert torch.equal(found.confidence, multibox_loss(loc, conf, offsets, classes).confidence)


def test_more_matches_than_negatives_take_all_negatives() -> None:
    loc, conf, offsets, classes = _case(5, (30,))
    losses = functional.cross_entropy(conf[0], classes[0], reduction="sum") / 30
    assert float(multibox_loss(loc, conf, offsets, classes).confidence) == pytest.approx(float(losses), rel=ROUNDING)


def test_half_precision_outputs_are_judged_in_float32() -> None:
    loc, conf, offsets, classes = _case(6, (4,))
    loss = multibox_loss(loc.bfloat16(), conf.bfloat16(), offsets, classes)
    assert loss.total.dtype == torch.float32


def test_it_leads_the_network_towards_its_targets() -> None:
    loc, conf, offsets, classes = _case(8, (4, 3))
    loc.requires_grad_()
    conf.requires_grad_()
    optimizer = torch.optim.SGD([loc, conf], lr=0.5)
    first = float(multibox_loss(loc, conf, offsets, classes).total.detach())
    for _ in range(200):
        optimizer.zero_grad()
        multibox_loss(loc, conf, offsets, classes).total.backward()
        optimizer.step()
    assert float(multibox_loss(loc, conf, offsets, classes).total.detach()) < first / 4
    assert torch.equal(conf.argmax(-1)[classes > 0], classes[classes > 0])
