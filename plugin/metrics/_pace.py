"""What the metrics of speed have in common."""

CAVEAT = (
    "seconds run from a case's start in its batch to its last token, with up to --batch_size cases "
    "side by side, so they are not what a single user would wait; a completion kept from an "
    "earlier session or the shared cache carries the seconds of when it was made"
)
