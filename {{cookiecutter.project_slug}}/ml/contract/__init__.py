"""What the subsystems agree on; training, serving and monitoring meet here and nowhere else."""
