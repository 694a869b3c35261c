"""What the parts of the campaign share."""
