"""The compiled CPU backend: a frame in a few calls, every operator reading where data lies."""
