// Generated from clients/typescript/src/network/credentials.ts by `make typescript`. Change it there.
import { errorOf } from "../errors.js";
const partOfLife = 0.75; // after which another ticket is fetched
const usualLife = 600; // seconds
/** Keeps a ticket until most of its life is over. Callers at the same time share one request for it. */
class Ticket {
    #fetch;
    #text;
    #freshUntil = 0;
    constructor(fetch) {
        this.#fetch = fetch;
    }
    get() {
        if (this.#text === undefined || performance.now() > this.#freshUntil)
            this.#renew();
        return this.#text;
    }
    forget() {
        this.#text = undefined;
    }
    #renew() {
        this.#freshUntil = Infinity;
        const text = (this.#text = Promise.resolve().then(this.#fetch));
        text.then((ticket) => {
            // tt1.ID.ISSUED.LIFE.…; the page's own clock may be wrong, so its age counts from now.
            const life = Number(ticket.split(".")[3]) || usualLife;
            this.#freshUntil = performance.now() + life * 1_000 * partOfLife;
        }, () => {
            if (this.#text === text)
                this.#text = undefined;
        });
    }
}
/** What is shown with each request, and in the addresses of pictures. */
export class Credentials {
    #apiKey;
    #ticket;
    #refusals = 0;
    constructor(gateway, { apiKey, ticket }) {
        this.#apiKey = apiKey;
        const fetched = ticket ?? (apiKey === undefined ? undefined : () => made(gateway, apiKey));
        this.#ticket = fetched && new Ticket(fetched);
    }
    /** Whether there is anything to show. */
    get areGiven() {
        return this.#ticket !== undefined;
    }
    async headers() {
        if (this.#apiKey !== undefined)
            return { "X-Api-Key": this.#apiKey };
        return this.#ticket ? { Authorization: `Bearer ${await this.#ticket.get()}` } : {};
    }
    /** Return the address of a picture as an <img> can load it: it sends no headers. */
    async inAddress(picture) {
        if (!this.#ticket)
            return picture;
        const address = new URL(picture);
        address.searchParams.set("ticket", await this.#ticket.get());
        return address.href;
    }
    /** Note that the gateway has taken what was shown. */
    accepted() {
        this.#refusals = 0;
    }
    /** Note a 401. Returns whether another ticket may help: one that was just fetched is refused for good. */
    refused() {
        if (!this.#ticket || this.#apiKey !== undefined)
            return false;
        this.#ticket.forget();
        this.#refusals += 1;
        return this.#refusals < 2;
    }
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
