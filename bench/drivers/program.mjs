// The verbs of a driver that is written in JavaScript; bench/drivers/__init__.py describes them.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const BATCH = 1000;
export const require = createRequire(`${process.env.BENCH_NODE}/package.json`);
export const target = process.env.BENCH_TARGET;
export const payload = (number, t = 0) => ({ t, model_id: number, model_hash: 'x'.repeat(40), k: 'abcdef' });
const now = () => Number(process.hrtime.bigint());
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function meter(path) {
  const file = fs.openSync(path, 'r+');
  const waits = fs.openSync(`${path}.waits`, 'a');
  const state = Buffer.alloc(16);
  const wait = Buffer.alloc(8);
  let count = 0;
  let written = 0;
  const write = () => {
    if (count === written) return;
    written = count;
    state.writeBigUInt64LE(BigInt(count), 0);
    fs.writeSync(file, state, 0, 16, 0);
  };
  // Node cannot map a file into memory, and a write for each job would cost more than the job.
  setInterval(write, 5);
  return (called) => {
    if (!count) state.writeDoubleLE(now() / 1e9, 8);
    count += 1;
    if (called) {
      wait.writeDoubleLE((now() - called) / 1e6);
      fs.writeSync(waits, wait);
    }
  };
}

async function inFlight(items, count, call) {
  const waiting = items[Symbol.iterator]();
  const work = async () => {
    for (let next = waiting.next(); !next.done; next = waiting.next()) await call(next.value);
  };
  await Promise.all(Array.from({ length: count }, work));
}

function* range(first, end, step = 1) {
  for (let number = first; number < end; number += step) yield number;
}

const numbersFrom = (start) => Array.from({ length: BATCH }, (_, index) => start + index);

const verbs = {
  async bulk(driver, { first, jobs, in_flight }) {
    await driver.batch(numbersFrom(first));
    const started = now();
    await inFlight(range(first + BATCH, first + jobs, BATCH), in_flight, (start) => driver.batch(numbersFrom(start)));
    return { jobs_per_s: (jobs - BATCH) / ((now() - started) / 1e9) };
  },

  async single(driver, { first, jobs, in_flight, timed }) {
    let waits = [];
    const call = async (number) => {
      const began = now();
      await driver.one(number, timed ? began : 0);
      waits.push((now() - began) / 1e6);
    };
    const warm = Math.min(Math.floor(jobs / 10), 2 * in_flight);
    await inFlight(range(first, first + warm), in_flight, call);
    waits = [];
    const started = now();
    await inFlight(range(first + warm, first + jobs), in_flight, call);
    const seconds = (now() - started) / 1e9;
    waits.sort((a, b) => a - b);
    return {
      jobs_per_s: waits.length / seconds,
      call_p50_ms: waits[Math.floor(waits.length / 2)],
      call_p99_ms: waits[Math.floor(waits.length * 0.99)],
    };
  },

  async pace(driver, { first, jobs, rate, in_flight }) {
    const started = now();
    let due = started;
    const underWay = new Set();
    for (const number of range(first, first + jobs)) {
      due += ((0.75 + Math.random() / 2) * 1e9) / rate;
      // Timers have whole milliseconds, so a call that is due within half of one is made at once.
      if (due - now() > 5e5) await sleep((due - now()) / 1e6);
      while (underWay.size >= in_flight) await Promise.race(underWay);
      const call = driver.one(number, now()).then(() => underWay.delete(call));
      underWay.add(call);
    }
    await Promise.all(underWay);
    return { jobs_per_s: jobs / ((now() - started) / 1e9) };
  },
};

// `driver`: open(verb), setup(), batch(numbers), one(number, calledNs), work(count, options).
export async function run(driver) {
  const [verb, json] = process.argv.slice(2);
  const options = JSON.parse(json);
  if (verb === 'work') {
    await driver.work(meter(options.meter), options);
    return;
  }
  await driver.open(verb);
  const figures = verb === 'setup' ? await driver.setup() : await verbs[verb](driver, options);
  console.log(JSON.stringify(figures ?? {}));
  process.exit(0);
}
