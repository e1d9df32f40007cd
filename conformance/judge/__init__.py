"""What it means: comparing, blaming, naming causes."""
