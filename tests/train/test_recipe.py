"""The recipe's numbers are upstream's, and values that make no sense are refused."""

import dataclasses
import itertools

import pytest

from hardnet_deploy.errors import UsageError
from hardnet_deploy.train.recipe import EPOCHS, WEIGHT_DECAY, Recipe


def test_the_defaults_are_those_that_the_authors_publish() -> None:
    recipe = Recipe(epochs=EPOCHS["coco"])
    assert (recipe.epochs, recipe.batch, recipe.learning_rate, recipe.momentum) == (150, 32, 4e-3, 0.9)
    assert (EPOCHS["voc"], WEIGHT_DECAY["coco"], WEIGHT_DECAY["voc"]) == (300, 1e-4, 5e-4)
    assert recipe.clip_norm == 0.0


def test_the_rate_falls_tenfold_at_60_80_and_90_percent() -> None:
    recipe = Recipe(epochs=10, warmup_epochs=0.0)
    rates = [recipe.learning_rate_at(step, steps_per_epoch=100) for step in (0, 599, 600, 799, 800, 899, 900, 999)]
    assert rates == pytest.approx([4e-3, 4e-3, 4e-4, 4e-4, 4e-5, 4e-5, 4e-6, 4e-6], rel=1e-12)


def test_the_rate_rises_linearly_while_warming_up() -> None:
    recipe = Recipe(epochs=10, learning_rate=1.0, warmup_epochs=1.0)
    assert recipe.learning_rate_at(0, steps_per_epoch=100) == pytest.approx(1e-6)
    assert recipe.learning_rate_at(50, steps_per_epoch=100) == pytest.approx(0.5, rel=1e-5)
    assert recipe.learning_rate_at(100, steps_per_epoch=100) == 1.0


def test_a_cosine_falls_from_the_full_rate_to_nearly_nothing_and_never_rises() -> None:
    recipe = Recipe(epochs=10, learning_rate=1.0, warmup_epochs=1.0, schedule="cosine")
    rates = [recipe.learning_rate_at(step, steps_per_epoch=100) for step in range(1000)]
    assert rates[:101] == [
        dataclasses.replace(recipe, schedule="steps").learning_rate_at(step, steps_per_epoch=100) for step in range(101)
    ]
    assert rates[100] == 1.0
    assert rates[550] == pytest.approx(0.5)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[100:]))
    assert 0 < rates[-1] < 1e-5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("location_beta", 0.0),
        ("location_beta", float("nan")),
        ("epochs", 0),
        ("batch", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("clip_norm", -1.0),
        ("warmup_epochs", 4.0),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_option(field: str, value: float) -> None:
    with pytest.raises(UsageError, match="out of range"):
        dataclasses.replace(Recipe(epochs=3), **{field: value})
