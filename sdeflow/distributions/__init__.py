"""What the data are: distributions with exact draws, data sets with a name, your own files."""
