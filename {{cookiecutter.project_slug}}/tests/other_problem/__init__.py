"""A second, quite different problem: put in the place of `ml/problem`, it shows that nothing else knows flights."""
