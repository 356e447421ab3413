"""From raw partitions to a registered bundle: one module a step, plain functions, wired by the pipeline."""
