"""How near the service comes to the limit: the same model, the same requests, the same machine, in turns.

`python -m benchmarks.serving` starts our service and its peers, each with one worker, loads them in turns over sixteen
connections, and prints a table for docs/performance.md. The reference is run twice in each round (an A/A control): a run
whose control is off by more than 15 %, or in which any answer is not 200, is void.
"""
