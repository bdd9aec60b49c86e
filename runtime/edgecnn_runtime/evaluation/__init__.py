"""Labeled images, and the metrics that results on them are scored by.

Which labels a task reads and by which metric it is judged stands in ``tasks``.
"""
