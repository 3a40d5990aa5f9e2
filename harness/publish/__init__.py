"""Rounds to leaderboard to tables and figures.

Reads run folders only, never the code's current settings.
"""
