"""The benchmark of embedding rows: strata, peers, metrics, tables (`python -m benchmarks.rows`)."""
