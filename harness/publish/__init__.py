"""Rounds to leaderboard to tables and figures; reads run folders only, never the code's current settings."""
