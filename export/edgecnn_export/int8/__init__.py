"""What ``edgecnn_export.quantise`` is made of: ranges, dialects, the gate and its repair."""
