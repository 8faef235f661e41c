"""Models: record them, load them, and bring them in from elsewhere."""
