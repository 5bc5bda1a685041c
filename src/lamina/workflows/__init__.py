"""What each command does, as a plain function with the same words."""
