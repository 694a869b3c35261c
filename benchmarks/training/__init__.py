"""Steps of training: their phases, the textbook arrangement, timed launches, and how they grow (`scaling`)."""
