"""One script for each claim about speed; each prints a ratio to a peer measured in the same run."""
