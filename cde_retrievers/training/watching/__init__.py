"""What a run shows of itself: figures, curves, the progress line."""
