"""tokengraft: change the vocabulary of a language model, and prove that nothing else moved."""

__version__ = "0.1.0"
