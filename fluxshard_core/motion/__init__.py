"""Block motion fields and where they come from."""
