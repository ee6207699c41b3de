"""Draw figures for papers, one file for each: `python -m figures list | NAME | all`."""
