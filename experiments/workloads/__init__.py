"""What is run: surfaces, models, data, the user's own loss."""
