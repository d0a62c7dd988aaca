"""The API of Joulegate: it prices, decides, records and reports.

What is *not* done here: nothing is measured. Facts about energy come in over
HTTP, and this package imports neither the meter nor a GPU reader.
"""
