"""Published subjects: fetched from the Hugging Face hub, converted once to our format; ours sent there."""
