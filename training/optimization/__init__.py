"""Optimization: the frame of a phase, averaged gradients, Adam, the moving average (EMA), the guard against NaN."""
