"""One module for a few commands each; `table` names them."""
