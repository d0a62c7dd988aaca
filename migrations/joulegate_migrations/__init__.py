"""The database's history, one revision after another, carried in the wheel.

What is *not* done here: no query that the API asks while it runs.
"""
