"""Measurements of Joulegate, run from the checkout; not part of the distribution."""
