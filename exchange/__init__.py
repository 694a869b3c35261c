"""Networks to and from other programs: import, export, hub, model cards, inspection."""
