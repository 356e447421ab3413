"""The training flow as one Kubeflow pipeline, from raw partitions to the gate's verdict."""
