"""The figures that five sets of notes print, and the same figures computed with picogpt."""
