"""Subjects: trained transformers whose true circuit is known, and where they are stored."""
