"""What was found, against the truth; and how much of a model's behaviour a circuit keeps."""
