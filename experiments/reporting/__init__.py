"""What a run leaves: checks, the folder, figures, pages."""
