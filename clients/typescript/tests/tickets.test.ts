import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { subscribe, Thumbq } from "thumbq";

import { fetched, open, Page, rendered } from "./page.js";
import { control, thumbq, ticketFor, url } from "./service.js";

/** Let time have passed for the client. */
function later(t: TestContext, seconds: number): void {
  const now = performance.now.bind(performance);
  t.mock.method(performance, "now", () => now() + seconds * 1_000);
}

const ticketIn = (address: string | undefined): string | null => new URL(address ?? "").searchParams.get("ticket");

test("a picture that comes while the application is away is shown with the ticket that is still valid", async (t) => {
  const present = await ticketFor(1);
  let isAway = false;
  const ticket = (): string => {
    if (isAway) throw new Error("the application is away");
    return present;
  };
  const page = new Page();
  open(t, page, [1], { ticket });
  await page.state("live");
  isAway = true;
  later(t, 460);
  await rendered(1, "picture");
  await page.status(1, "Ready");
  assert.equal(ticketIn(page.shown.get(1)?.pictureUrl), present);
  assert.equal(await fetched(page.shown.get(1)?.pictureUrl), "picture");
});

test("a picture that comes when the ticket has ended is shown once there is another", async (t) => {
  const failures: string[] = [];
  const ticket = (): Promise<string> => {
    const failure = failures.pop();
    return failure === undefined ? ticketFor(1) : Promise.reject(new Error(failure));
  };
  const page = new Page();
  open(t, page, [1], { ticket });
  await page.state("live");
  failures.push("the application is away");
  later(t, 601);
  await rendered(1, "picture");
  await page.status(1, "Ready");
  assert.deepEqual(failures, []);
  assert.equal(await fetched(page.shown.get(1)?.pictureUrl), "picture");
});

test("a model that is removed while its ticket is renewed is not shown again", async (t) => {
  const present = await ticketFor(1, 2);
  let isOld = false;
  let ask!: () => void;
  let renew!: (ticket: string) => void;
  const asked = new Promise<void>((resolve) => (ask = resolve));
  const renewed = new Promise<string>((resolve) => (renew = resolve));
  const ticket = (): string | Promise<string> => {
    if (!isOld) return present;
    ask();
    return renewed;
  };
  const page = new Page();
  const following = open(t, page, [1, 2], { ticket });
  await page.state("live");
  isOld = true;
  later(t, 460);
  await rendered(1, "picture");
  await asked;
  following.remove(1);
  renew(present);
  await thumbq.announceTest(2, { status: "Failed", errorMessage: "the end" });
  await page.status(2, "Failed");
  assert.notEqual(page.shown.get(1)?.status, "Ready");
});

test("models that are left are followed on with tickets for them alone", async (t) => {
  const models = [1, 2, 3];
  const page = new Page();
  const following = open(t, page, models, { ticket: () => ticketFor(...models) });
  await page.state("live");
  models.splice(1);
  following.remove(2);
  following.remove(3);
  later(t, 460);
  await control("gateway/stop");
  await page.state("reconnecting");
  await control("gateway/start");
  await page.state("live");
  await rendered(1, "picture");
  await page.status(1, "Ready");
});

test("a text that is no ticket is not shown to the gateway, and a ticket is asked for again", async (t) => {
  const page502 = "<html>\n<h1>502 Bad Gateway</h1>\n</html>";
  await assert.rejects(new Thumbq({ url, ticket: () => page502 }).thumbnail(1), /no ticket/);
  const answers = [page502];
  const ticket = (): string | Promise<string> => answers.pop() ?? ticketFor(1);
  const page = new Page();
  open(t, page, [1], { ticket });
  await page.state("live");
  assert.equal(page.shown.get(1)?.status, "Pending");
});

test("who waits for a ticket that does not come can give up", async () => {
  let ask!: () => void;
  const asked = new Promise<void>((resolve) => (ask = resolve));
  const ticket = (): Promise<string> => {
    ask();
    return new Promise(() => undefined);
  };
  const subscription = subscribe({ url, ticket, onThumbnail: () => undefined, onReset: () => undefined });
  await asked;
  subscription.close();
  await subscription.closed;
  const call = new AbortController();
  const reading = new Thumbq({ url, ticket }).thumbnail(1, { signal: call.signal });
  call.abort();
  await assert.rejects(reading, { name: "AbortError" });
});

test("two calls whose ticket is refused are made again with one other ticket", async () => {
  const valid = await ticketFor(1, 2);
  const tickets = [valid.replace(".1~2.", ".1~2~3."), valid]; // the first is not what was signed
  const api = new Thumbq({ url, ticket: () => tickets.shift() ?? "" });
  const thumbnails = await Promise.all([api.thumbnail(1), api.thumbnail(2)]);
  assert.deepEqual(thumbnails.map(({ status }) => status), ["Pending", "Pending"]);
});

test("a call for a model that is newer than the ticket is made again with another", async () => {
  const models = [1];
  const api = new Thumbq({ url, ticket: () => ticketFor(...models) });
  await api.thumbnail(1);
  models.push(2);
  assert.equal((await api.thumbnail(2)).status, "Pending");
  await assert.rejects(api.thumbnail(3), { httpStatus: 403 });
});

test("a picture at another host is loaded without the ticket", async (t) => {
  const page = new Page();
  open(t, page, [1], { ticket: () => ticketFor(1) });
  await page.state("live");
  await thumbq.announceTest(1, { status: "Ready", thumbnailUrl: "https://pictures.example/9" });
  await page.status(1, "Ready");
  const address = new URL(page.shown.get(1)?.pictureUrl ?? "");
  assert.deepEqual([address.host, address.searchParams.get("ticket")], ["pictures.example", null]);
});
