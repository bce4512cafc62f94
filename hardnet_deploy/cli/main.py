"""The ``hardnet-deploy`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hardnet_deploy import __version__
from hardnet_deploy.cli.bench_cmd import bench
from hardnet_deploy.cli.build_engine_cmd import build_engine
from hardnet_deploy.cli.calibrate_cmd import calibrate
from hardnet_deploy.cli.common import EXIT_CODE_HELP, emit, emit_json, json_was_emitted
from hardnet_deploy.cli.demo_cmd import demo
from hardnet_deploy.cli.demo_data_cmd import demo_data
from hardnet_deploy.cli.detect_cmd import detect
from hardnet_deploy.cli.doctor_cmd import doctor
from hardnet_deploy.cli.evaluate_cmd import evaluate
from hardnet_deploy.cli.export_cmd import export
from hardnet_deploy.cli.import_report_cmd import import_report
from hardnet_deploy.cli.kit_cmd import kit
from hardnet_deploy.cli.models_cmd import models
from hardnet_deploy.cli.parity_cmd import parity
from hardnet_deploy.cli.profile_cmd import profile
from hardnet_deploy.cli.report_cmd import report
from hardnet_deploy.cli.roofline_cmd import roofline
from hardnet_deploy.cli.sensitivity_cmd import sensitivity
from hardnet_deploy.cli.targets_cmd import targets
from hardnet_deploy.cli.train_cmd import train
from hardnet_deploy.cli.verify_cmd import verify
from hardnet_deploy.errors import UsageError

app = typer.Typer(
    name="hardnet-deploy",
    help="Take a HarDNet detector from its PyTorch checkpoint to a verified file that still detects the same things.",
    epilog=EXIT_CODE_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS = (
    models,
    targets,
    doctor,
    export,
    calibrate,
    sensitivity,
    build_engine,
    detect,
    evaluate,
    parity,
    bench,
    profile,
    roofline,
    verify,
    kit,
    import_report,
    report,
    train,
    demo_data,
    demo,
)
for command in COMMANDS:
    app.command(epilog=EXIT_CODE_HELP)(command)


def _print_version(value: bool) -> None:
    if value:
        emit(f"hardnet-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Entry point of the console script.

    Typer reports a command line that it cannot parse on stderr alone; with ``--json`` stdout gets its document too.
    """
    try:
        app()
    except SystemExit as exit_:
        if exit_.code == UsageError.exit_code and "--json" in sys.argv[1:] and not json_was_emitted():
            emit_json(
                UsageError(
                    "the command line cannot be understood", next_step="the message on stderr says why"
                ).as_dict()
            )
        raise
