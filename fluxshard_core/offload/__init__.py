"""What travels between edge and cloud, and how."""
