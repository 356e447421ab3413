"""Batch scoring: partitions in; scores out, to Parquet files and to the online store, which the service asks."""
