// Generated from clients/typescript/src/network/credentials.ts by `make typescript`. Change it there.
import { errorOf } from "../errors.js";
import { Deadline } from "./deadline.js";
const beginning = "tt1."; // of every ticket
const partOfLife = 0.75; // after which another ticket is fetched
const usualLife = 600; // seconds
const answerTimeout = 30_000; // milliseconds for the application's answer
const pauseAfterFailure = 1_000; // milliseconds until another ticket is fetched again
const refusals = new Set([401, 403]); // the ticket has ended, or it was made before a model came
/** Keeps a ticket until most of its life is over. Callers at the same time share one request for it. */
class Ticket {
    #fetch;
    #text;
    #freshUntil = 0;
    #endsAt = 0;
    #renewal;
    constructor(fetch) {
        this.#fetch = fetch;
    }
    /** Return a ticket. One whose renewal fails is returned until it ends. */
    async get() {
        if (this.#text !== undefined && performance.now() < this.#freshUntil)
            return this.#text;
        try {
            return await (this.#renewal ??= this.#renew().finally(() => (this.#renewal = undefined)));
        }
        catch (error) {
            const now = performance.now();
            if (this.#text === undefined || now >= this.#endsAt)
                throw error;
            this.#freshUntil = Math.min(now + pauseAfterFailure, this.#endsAt);
            return this.#text;
        }
    }
    /** Return this ticket no more, if it is the present one. */
    forget(text) {
        if (this.#text === text)
            this.#text = undefined;
    }
    async #renew() {
        const deadline = new Deadline();
        const fetched = async () => this.#fetch();
        const text = await deadline.limit(answerTimeout, fetched());
        if (!text.startsWith(beginning))
            throw new TypeError('The function "ticket" returned a text that is no ticket.');
        // tt1.ID.ISSUED.LIFE.…; the page's own clock may be wrong, so its age counts from now.
        const life = (Number(text.split(".")[3]) || usualLife) * 1_000;
        this.#text = text;
        this.#freshUntil = performance.now() + life * partOfLife;
        this.#endsAt = performance.now() + life;
        return text;
    }
}
/** What is shown with each request, and in the addresses of pictures. */
export class Credentials {
    #gateway;
    #apiKey;
    #ticket;
    constructor(gateway, { apiKey, ticket }) {
        this.#gateway = gateway;
        this.#apiKey = apiKey;
        const fetched = ticket ?? (apiKey === undefined ? undefined : () => made(gateway, apiKey));
        this.#ticket = fetched && new Ticket(fetched);
    }
    /** Whether there is anything to show. */
    get areGiven() {
        return this.#ticket !== undefined;
    }
    /** Send a request. When its ticket is refused, it is sent once more with another one. */
    async send(request) {
        if (this.#apiKey !== undefined)
            return request({ "X-Api-Key": this.#apiKey });
        if (!this.#ticket)
            return request({});
        const ticket = await this.#ticket.get();
        const response = await request(bearer(ticket));
        if (!refusals.has(response.status))
            return response;
        await response.body?.cancel();
        this.#ticket.forget(ticket);
        return request(bearer(await this.#ticket.get()));
    }
    /** Return the address of a picture as an <img> can load it: it sends no headers. */
    async inAddress(picture) {
        const address = new URL(picture);
        // A test announcement may name a picture at another host, which must not see the ticket.
        if (!this.#ticket || address.origin !== this.#gateway.origin)
            return picture;
        address.searchParams.set("ticket", await this.#ticket.get());
        return address.href;
    }
}
function bearer(ticket) {
    return { Authorization: `Bearer ${ticket}` };
}
/** Make a ticket for all models, for pictures. */
async function made(gateway, apiKey) {
    const response = await fetch(new URL("api/tickets", gateway), {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Api-Key": apiKey },
        body: JSON.stringify({ allModels: true }),
    });
    if (!response.ok)
        throw await errorOf(response);
    return (await response.json()).ticket;
}
