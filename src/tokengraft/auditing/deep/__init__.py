"""Read the rows: whole matrices with a vocabulary axis, once each, in constant memory."""
