"""``hardnet-deploy models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded, stages

if TYPE_CHECKING:
    from hardnet_deploy.workflows.list_models import ModelRow

GIGA = 1e9
MEGA = 1e6
LEGEND = (
    "Parameters and GMACs (1e9 multiply-accumulates of convolutions and linear layers, one image) are counted here;",
    "'published' is what the models' authors report, GMACs at 224. No SSD runs at 224: its last levels would be empty.",
)


@guarded
def models(json: Json = False, debug: Debug = False) -> None:
    """List the models: size and work as counted here, beside what their authors publish."""
    from hardnet_deploy.workflows.list_models import list_models

    del debug
    with stages() as progress:
        progress("counting parameters and multiply-accumulates", 1, 1)
        rows = list_models()
    if json:
        emit_json({"models": [row.as_dict() for row in rows]})
        return
    for line in table(rows):
        emit(line)


def table(rows: tuple[ModelRow, ...]) -> list[str]:
    """One line a model, columns aligned."""
    head = ("model", "input", "priors", "params M", "GMACs 224", "native", "1024", "published")
    body = []
    for row in rows:
        spec = row.spec
        macs = row.macs
        said = spec.published
        published = [
            f"{said.params_m:g} M" if said.params_m else "",
            f"{said.gmacs:g} GMACs" if said.gmacs else "",
            f"top-1 {said.top1:g} %" if said.top1 else "",
            f"COCO mAP {said.coco_map:g}" if said.coco_map else "",
            "ours, trained weights shipped" if row.shipped else "",
        ]
        body.append(
            (
                spec.name,
                str(spec.preprocess.size),
                str(spec.head.num_priors) if spec.head else "-",
                f"{row.parameters / MEGA:.2f}",
                *(f"{macs[size] / GIGA:.2f}" if size in macs else "-" for size in (224, spec.preprocess.size, 1024)),
                ", ".join(filter(None, published)) or "-",
            )
        )
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    numeric = range(1, len(head) - 1)
    rows_of_text = [
        "  ".join(
            text.rjust(widths[column]) if column in numeric else text.ljust(widths[column])
            for column, text in enumerate(line)
        ).rstrip()
        for line in (head, *body)
    ]
    return [*rows_of_text, *LEGEND]
