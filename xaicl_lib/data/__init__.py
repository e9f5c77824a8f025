"""Images to explain and to train on."""
