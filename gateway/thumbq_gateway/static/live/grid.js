// The cards on the page, newest first. A batch keeps its own order, since its jobs are rendered in that order.
// A card never moves.

import { Card } from "./card.js";
import { count, number } from "../shared/format.js";

const settle = 700; // milliseconds between two exchanges of cards, so that many new models do not make the page flicker
const atTop = 120; // pixels; a reader who has scrolled further must not lose the place

export class Grid {
  #models;
  #cards = new Map();
  #arrivals = new Set(); // model ids without a card yet
  #departures = new Set(); // model ids whose card will be removed
  #lastExchange = -Infinity;
  #live = false;
  #frame = 0;
  #timer = 0;
  #parts = {
    list: document.getElementById("grid"),
    newer: document.getElementById("newer"),
    earlier: document.getElementById("earlier"),
    template: document.getElementById("card"),
  };

  constructor(models) {
    this.#models = models;
    this.#parts.newer.addEventListener("click", () => scrollTo({ top: 0 }));
    addEventListener("scroll", () => this.#arrivals.size && this.refresh(), { passive: true });
    setInterval(() => this.#tick(), 1_000);
  }

  /** Draw the changes in the next frame. */
  refresh() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  clear() {
    this.#cards.clear();
    this.#arrivals.clear();
    this.#departures.clear();
    this.#parts.list.replaceChildren();
    this.refresh();
  }

  /** Stop the clocks of the cards without a connection, since a job may have ended; load missing pictures after it. */
  setLive(live) {
    this.#live = live;
    if (live) for (const card of this.#cards.values()) card.retryPicture();
  }

  #draw() {
    for (const modelId of this.#models.takeChanges()) {
      const view = this.#models.view(modelId);
      const card = this.#cards.get(modelId);
      if (!view) {
        this.#arrivals.delete(modelId);
        if (card) this.#departures.add(modelId);
      } else if (card && !this.#departures.has(modelId)) {
        card.show(view);
      } else {
        this.#arrivals.add(modelId);
      }
    }
    this.#exchange();
    const { earlier } = this.#parts;
    earlier.hidden = this.#models.earlierCount === 0;
    earlier.textContent =
      `The ${number(this.#models.size)} most recent models are shown, ${number(this.#models.earlierCount)} more are not.`;
  }

  /** Add new cards and remove old ones together, unless the reader has scrolled or the last exchange was just now. */
  #exchange() {
    const { newer } = this.#parts;
    const reading = scrollY > atTop;
    newer.hidden = !reading || this.#arrivals.size === 0;
    newer.textContent = count(this.#arrivals.size, "new model");
    if (reading || this.#arrivals.size === 0) return;

    const wait = this.#lastExchange + settle - performance.now();
    if (wait > 0) {
      this.#timer ||= setTimeout(() => {
        this.#timer = 0;
        this.refresh();
      }, wait);
      return;
    }
    for (const modelId of this.#departures) {
      this.#cards.get(modelId).element.remove();
      this.#cards.delete(modelId);
    }
    let neighbour;
    for (const modelId of this.#arrivals) {
      const card = new Card(this.#parts.template);
      card.show(this.#models.view(modelId));
      this.#cards.set(modelId, card);
      this.#place(card, neighbour);
      neighbour = card;
    }
    this.#arrivals.clear();
    this.#departures.clear();
    this.#lastExchange = performance.now();
  }

  /** Insert a card below all newer cards and those of its batch. The card placed before it saves the search. */
  #place(card, neighbour) {
    const { list } = this.#parts;
    let next = neighbour?.since === card.since ? neighbour.element.nextElementSibling : list.firstElementChild;
    while (next && Number(next.dataset.since) >= card.since) next = next.nextElementSibling;
    list.insertBefore(card.element, next);
  }

  #tick() {
    if (this.#live) for (const card of this.#cards.values()) card.tick();
  }
}
