"""The networks' passes as training runs them: eager, compiled, or as CUDA graphs."""
