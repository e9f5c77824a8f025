"""How the bundled models were made, runnable by anyone: losses, views, the trainer, the card."""
