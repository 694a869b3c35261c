"""Images and latents in batches, as metrics take them."""
