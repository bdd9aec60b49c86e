"""INT8: range estimation, QDQ schemes, the accuracy gate and accuracy restoration."""
