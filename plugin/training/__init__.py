"""Read what a trainer left: its logs, checkpoints and settings; say what the loss curves show."""
