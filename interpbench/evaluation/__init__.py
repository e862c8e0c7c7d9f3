"""Metrics: rankings and circuits against the true circuit, and how much of a model's behaviour a circuit keeps."""
