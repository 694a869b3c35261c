"""Remote files: web addresses, downloads on request, the Hugging Face hub."""
