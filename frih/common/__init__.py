"""Small helpers that every room shares."""
