"""Assignment and encoding against a plain reading of the paper, object by object and box by box."""

import numpy as np
import pytest
import torch

from hardnet_deploy.models import registry
from hardnet_deploy.nms.boxes import decode_boxes
from hardnet_deploy.train.targets import assign, corners, encode, pairwise_iou

VARIANCES = (0.1, 0.2)
ENCODING = 1e-5  # of the image: float32 rounding of a logarithm and an exponential


def _iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _scene(seed: int, objects: int, priors: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(seed)
    corner, size = draw.uniform(0, 0.7, (objects, 2)), draw.uniform(0.05, 0.3, (objects, 2))
    boxes = torch.tensor(np.concatenate((corner, corner + size), 1), dtype=torch.float32)
    labels = torch.tensor(draw.integers(1, 5, objects))
    centre_form = torch.tensor(
        np.concatenate((draw.uniform(0, 1, (priors, 2)), draw.uniform(0.05, 0.4, (priors, 2))), 1), dtype=torch.float32
    )
    return boxes, labels, centre_form


def _plain_assignment(boxes: torch.Tensor, labels: torch.Tensor, priors: torch.Tensor) -> list[tuple[int, int]]:
    """(class, object or -1) of each default box."""
    prior_corners = corners(priors).tolist()
    overlap = [[_iou(box, prior) for prior in prior_corners] for box in boxes.tolist()]
    result = []
    for column in range(len(prior_corners)):
        best = max(range(len(overlap)), key=lambda row, column=column: overlap[row][column])
        result.append((int(labels[best]), best) if overlap[best][column] >= 0.5 else (0, -1))
    for row, line in enumerate(overlap):
        best_prior = max(range(len(line)), key=lambda column, line=line: line[column])
        result[best_prior] = (int(labels[row]), row)
    return result


@pytest.mark.parametrize("seed", range(5))
def test_assignment_is_the_papers(seed: int) -> None:
    boxes, labels, priors = _scene(seed, objects=6, priors=300)
    offsets, classes = assign(boxes[None], labels[None], priors, VARIANCES)
    wanted = _plain_assignment(boxes, labels, priors)
    assert classes[0].tolist() == [label for label, _ in wanted]
    decoded = decode_boxes(offsets.numpy(), priors.numpy(), VARIANCES)[0]
    taken = [(column, row) for column, (_, row) in enumerate(wanted) if row >= 0]
    assert len(taken) >= 4  # two objects may share their best default box
    for column, row in taken:
        assert np.abs(decoded[column] - boxes[row].numpy()).max() < ENCODING


def test_every_object_is_somebodys_even_where_nothing_overlaps_it_well() -> None:
    spec = registry.get("ssd300-hardnet-demo")
    assert spec.head is not None
    boxes = torch.tensor([[[0.5, 0.5, 0.512, 0.98]]])  # no default box is that thin
    _, classes = assign(boxes, torch.tensor([[3]]), torch.from_numpy(spec.head.priors()), VARIANCES)
    assert (classes == 3).sum() == 1


def test_filled_up_rows_change_nothing() -> None:
    boxes, labels, priors = _scene(9, objects=3, priors=200)
    alone = assign(boxes[None], labels[None], priors, VARIANCES)
    padded_boxes = torch.cat((boxes, torch.zeros(4, 4)))[None]
    padded_labels = torch.cat((labels, torch.zeros(4, dtype=labels.dtype)))[None]
    filled = assign(padded_boxes, padded_labels, priors, VARIANCES)
    assert torch.equal(alone[1], filled[1])
    matched = alone[1] > 0
    assert torch.equal(alone[0][matched], filled[0][matched])


@pytest.mark.parametrize("width", [0, 2])
def test_an_image_without_objects_is_background_everywhere(width: int) -> None:
    _, _, priors = _scene(1, objects=1, priors=50)
    offsets, classes = assign(torch.zeros(2, width, 4), torch.zeros(2, width, dtype=torch.int64), priors, VARIANCES)
    assert offsets.shape == (2, 50, 4)
    assert not classes.any()


def test_encoding_is_the_inverse_of_the_detectors_decoding() -> None:
    boxes, _, priors = _scene(4, objects=80, priors=80)
    decoded = decode_boxes(encode(boxes, priors, VARIANCES).numpy()[None], priors.numpy(), VARIANCES)[0]
    assert np.abs(decoded - boxes.numpy()).max() < ENCODING


def test_a_box_without_area_encodes_to_something_finite() -> None:
    _, _, priors = _scene(4, objects=1, priors=3)
    assert torch.isfinite(encode(torch.full((3, 4), 0.5), priors, VARIANCES)).all()


def test_pairwise_iou() -> None:
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 5.0, 5.0]])
    assert pairwise_iou(boxes, boxes).tolist() == [
        [1.0, pytest.approx(1 / 7), 0.0],
        [pytest.approx(1 / 7), 1.0, 0.0],
        [0.0, 0.0, 0.0],
    ]
