"""Data: from the user's files to a catalogued, split and expanded data set."""
