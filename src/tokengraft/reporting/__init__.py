"""Views of every value that a user may see: terminal, JSON, SARIF, GitHub annotations.

A view computes nothing about a checkpoint and reads no file. Token text is hostile: whatever comes
from a checkpoint goes through `escape` on its way out.
"""
