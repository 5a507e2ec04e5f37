"""Listeners to events: log lines, progress bars, alerts."""
