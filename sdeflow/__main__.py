"""python -m sdeflow: the command."""

from sdeflow.experiment.cli import main

main()
