"""Files of weights as their publishers wrote them, read as tensors alone."""
