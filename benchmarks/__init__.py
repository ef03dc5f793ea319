"""One script per promise of speed; each prints ratios against its peer, measured in one run."""
