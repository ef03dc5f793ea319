"""What did the tune break? General ability of every variant, item by item, against the base."""
