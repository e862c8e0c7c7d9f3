"""The Hugging Face hub: published subjects are fetched and converted to our format; ours are uploaded."""
