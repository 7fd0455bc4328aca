"""Which cached features may be reused."""
