"""Where embedding rows come from: initializers, and later fits."""
