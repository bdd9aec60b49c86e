"""What ``edgecnn_export.int8.quantise`` is made of: ranges, dialects, the gate and its repair."""
