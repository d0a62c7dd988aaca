"""The dashboard: one page, rendered on the server, that works without scripts.

What is *not* done here: nothing is changed. Every figure is one that the API gives
too, with the same words for what is not known.
"""
