"""Published weights: where they lie, what they must be, the command that fetches them."""
