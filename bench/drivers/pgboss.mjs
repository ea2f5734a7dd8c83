// pg-boss's driver.
import { pathToFileURL } from 'node:url';
import { payload, require, run, target } from './program.mjs';

const { PgBoss } = await import(pathToFileURL(require.resolve('pg-boss')));

async function start(supervise) {
  const boss = new PgBoss({ connectionString: target, max: 20, useListenNotify: true, supervise, schedule: false });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  return boss;
}

let boss;

await run({
  async open() {
    boss = await start(false);
  },
  setup: () => boss.createQueue('noop', { notify: true }),
  batch: (numbers) => boss.insert('noop', numbers.map((number) => ({ data: payload(number) }))),
  one: (number, called) => boss.send('noop', payload(number, called)),
  async work(count, { batch, concurrency }) {
    const worker = await start(true);
    const settings = {
      batchSize: batch,
      localConcurrency: concurrency,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
    };
    await worker.work('noop', settings, async (jobs) => {
      for (const job of jobs) count(job.data.t);
    });
  },
});
