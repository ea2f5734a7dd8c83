// graphile-worker's driver.
import { payload, require, run, target } from './program.mjs';

const { Logger, makeWorkerUtils, run: runWorker } = require('graphile-worker');
const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message);
});
let utils;

await run({
  async open() {
    utils = await makeWorkerUtils({ connectionString: target, maxPoolSize: 20, logger });
  },
  setup: () => utils.migrate(),
  batch: (numbers) => utils.addJobs(numbers.map((number) => ({ identifier: 'noop', payload: payload(number) }))),
  one: (number, called) => utils.addJob('noop', payload(number, called)),
  async work(count, { concurrency, local_queue, complete_delay }) {
    const worker = {
      connectionString: target,
      concurrentJobs: concurrency,
      maxPoolSize: 10,
      pollInterval: 2000,
      logger,
      ...(complete_delay === undefined
        ? {}
        : { completeJobBatchDelay: complete_delay, failJobBatchDelay: complete_delay }),
      ...(local_queue ? { localQueue: { size: local_queue } } : {}),
    };
    const taskList = { noop: async (job) => count(job.t) };
    await (await runWorker({ preset: { worker }, noHandleSignals: true, taskList })).promise;
  },
});
