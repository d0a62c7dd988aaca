"""The node meter: one process a GPU node, which says which pod drew which joule.

It reads the GPUs, asks the kubelet who holds them, cuts energy into windows,
keeps the windows in a write-ahead log, and only then sends them to the API.
"""
