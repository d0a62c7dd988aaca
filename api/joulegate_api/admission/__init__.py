"""The gate: a review in, a verdict out, by the rules of admission that need no cluster.

What is *not* done here: nothing is remembered (the store does), and nothing is
believed of a review but its uid until it has been read.
"""
