"""Exchange of networks with other programs: import, export, hub, model cards, inspection."""
