"""Builds the student notebooks from the solutions, executes and verifies them."""
