import type { TestContext } from "node:test";

/** Hold the first request to a matching address until the test lets it continue. */
export function fetchOnHold(t: TestContext, address: RegExp): { begun: Promise<void>; proceed: () => void } {
  let begin: () => void;
  let proceed!: () => void;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const wait = new Promise<void>((resolve) => (proceed = resolve));
  const original = globalThis.fetch;
  t.mock.method(globalThis, "fetch", async (input: URL, init?: RequestInit) => {
    if (address.test(input.href)) {
      begin();
      await wait;
    }
    return original(input, init);
  });
  return { begun, proceed };
}

/** Hold the first answer from a matching address until the test lets it pass. */
export function answerOnHold(t: TestContext, address: RegExp): { begun: Promise<void>; proceed: () => void } {
  let begin: () => void;
  let proceed!: () => void;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const wait = new Promise<void>((resolve) => (proceed = resolve));
  const original = globalThis.fetch;
  t.mock.method(globalThis, "fetch", async (input: URL, init?: RequestInit) => {
    const answer = await original(input, init);
    if (address.test(input.href)) {
      begin();
      await wait;
    }
    return answer;
  });
  return { begun, proceed };
}

/** Return the list of all requests to a matching address, which grows. */
export function requestsTo(t: TestContext, address: RegExp): string[] {
  const requests: string[] = [];
  const original = globalThis.fetch;
  t.mock.method(globalThis, "fetch", async (input: URL, init?: RequestInit) => {
    if (address.test(input.href)) requests.push(input.href);
    return original(input, init);
  });
  return requests;
}
