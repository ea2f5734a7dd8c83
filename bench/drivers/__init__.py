"""The drivers: a program for each queue. All have the same verbs, so every queue is measured in the same way.

The bench runs `PROGRAM VERB JSON` with `BENCH_TARGET` in the environment: the DSN, or thumbq's address. The verbs:

- `setup`: make the queue's tables;
- `bulk`: enqueue `jobs` jobs, from number `first` on, in batches of 1,000, `in_flight` batches at a time;
- `single`: the same with one job a call;
- `pace`: make `rate` calls a second, at most `in_flight` at a time; each job carries the time of its call;
- `sustain`: like `bulk`, but never more than `ahead` jobs before the meters of the workers;
- `work`: count jobs in the file `meter` until killed.

Every verb but `work` prints one JSON object.
"""
