"""The rules of Joulegate: quantities, metering, pricing, prediction, budgets, audit.

What is *not* done here: no clock is read, nothing is opened, sent or drawn at
random, and nothing but the standard library is imported. Whatever a function
needs to know is an argument, so that every figure can be computed again from
the same inputs by somebody else.
"""
