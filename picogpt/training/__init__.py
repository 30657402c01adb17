"""Training: the way back through `model.py`, the optimizer, the loop, and the ladder of models that leads there."""
