"""The command line. Only here is typer imported, only here is anything printed."""
