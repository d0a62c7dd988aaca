"""Joulegate: the energy, cost and carbon of a run, measured where it happens.

What is *not* done here: nothing is priced and nothing is decided; the API does
that with dated factors. Importing this package reads no clock, opens no device
and needs nothing but the standard library.
"""

__version__ = "0.1.0"
