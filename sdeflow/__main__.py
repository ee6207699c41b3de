"""python -m sdeflow: the command."""

from sdeflow.cli import main

main()
