"""Runs in folders, and the `sdeflow` command."""
