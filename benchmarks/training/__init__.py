"""What the benchmarks of steps and ops are made of: phases, the textbook arrangement, timed launches."""
