"""Listeners to events: log lines, progress bars; later audit, metrics, alerts."""
