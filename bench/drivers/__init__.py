"""One program per queue, all with the same verbs, so that each is measured in the same way.

`PROGRAM VERB JSON` with `BENCH_TARGET` in the environment, which is the DSN, or thumbq's address:

- `setup`: make the queue's tables;
- `bulk`: enqueue `jobs`, from number `first` on, in batches of 1,000, `in_flight` batches at a time;
- `single`: the same with one job a call;
- `pace`: `rate` calls a second, each job carrying the time of its call, at most `in_flight` under way;
- `sustain`: like `bulk`, never more than `ahead` jobs before what the worker's meters say;
- `work`: count jobs in the file `meter` until killed.

Each but `work` prints one JSON object.
"""
