"""The live page: the studies of a folder in a browser, while they run."""
