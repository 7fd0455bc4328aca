"""Many robots on one cloud process for minutes: leaks, fairness, and what lanes gain."""
