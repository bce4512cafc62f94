"""Labels of a data set become the model's classes by name; what does not fit is refused or said."""

from __future__ import annotations

from collections.abc import Iterable

from hardnet_deploy.data.listing import named
from hardnet_deploy.errors import UsageError


def class_numbers(class_names: tuple[str, ...]) -> dict[str, int]:
    """Number of each class by its name; background, number 0, has none.

    Raises:
        UsageError: The model's classes have no names.
    """
    if len(class_names) < 2:
        raise UsageError(
            "the model's classes have no names, so labels cannot be matched with them",
            got=named(class_names) or "an empty class list",
            next_step="export the model again with --classes FILE",
        )
    return {name: number for number, name in enumerate(class_names) if number}


def refuse_unknown_classes(used: Iterable[str], class_names: tuple[str, ...], *, source: str, total: int) -> None:
    """Refuse data with objects of classes that the model does not have.

    Args:
        used: Names of the classes that have objects.
        class_names: Of the model, background first.
        source: What the data are called, for the message.
        total: Classes that the data define.

    Raises:
        UsageError: There are such classes.
    """
    unknown = sorted(set(used) - set(class_names[1:]))
    if unknown:
        raise UsageError(
            f"{source} has objects of {len(unknown)} classes that the model does not have: {named(unknown)}",
            got=f"{total} classes in the data",
            wanted=f"among the {len(class_names) - 1} classes of the model: {named(class_names[1:])}",
            next_step="name a model that was trained for these classes, where they are a checkpoint's own with "
            "--classes FILE, or data of the model's classes",
        )


def absent_classes_note(used: Iterable[str], class_names: tuple[str, ...]) -> tuple[str, ...]:
    """A note where the model has classes of which the data have no object."""
    absent = [name for name in class_names[1:] if name not in set(used)]
    if not absent:
        return ()
    return (f"no object of {len(absent)} of the model's {len(class_names) - 1} classes: {named(absent)}",)
