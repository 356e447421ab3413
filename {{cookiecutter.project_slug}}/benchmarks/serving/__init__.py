"""How near the service comes to the limit: the same model, the same requests, the same machine, in turns.

Each part starts our service and its peers, one worker each on one core, and loads them over sixteen connections from
another core. A run in which any answer is not 200 is void, and ends with exit code 1; where a reference runs twice in
each round (an A/A control), so is one whose control is off by more than 15 %.

    python -m benchmarks.serving            requests a second and CPU, beside peers
    python -m benchmarks.serving.latency    the 99th percentile at 70 % of what each can take
    python -m benchmarks.serving.bulk       a thousand records a request, beside the same work in process
    python -m benchmarks.serving.shadow     what a challenger that hangs costs the champion

Run them where nothing else runs, with a model that `ml pipeline run` has made. `--rounds` says how many, and the
variable ML_ONLINE_URL which online store. FastAPI and KServe take part where they are installed.
"""
