"""Figures for papers, one file each: `python -m figures list | NAME | all`."""
