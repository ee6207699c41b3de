"""The `sdeflow` command: each subcommand is a class whose attributes are its options.

    cli          demo, train, calibrate, check, view; how a command line is read, and errors
    sample       draw samples           simulate     any number of particles
    unclip       pictures from text     info         print what is known
    options      the help of options    termination  SIGTERM ends a command as Ctrl-C does

What a subcommand does is in `sdeflow.experiment`, which programs can call too.
"""

from sdeflow.command.cli import main

__all__ = ["main"]
