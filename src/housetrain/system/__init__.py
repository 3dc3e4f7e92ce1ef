"""What any program needs: files, locks, child processes. Knows no image and no model."""
