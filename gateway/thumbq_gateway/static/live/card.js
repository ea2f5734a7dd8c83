// One model on the page. All values from outside are set as text, never as markup.

import { now } from "../shared/clock.js";
import { count, duration, elapsed, timeOfDay } from "../shared/format.js";

const words = { waiting: "Waiting", rendering: "Rendering", ready: "Ready", failed: "Failed", none: "No thumbnail" };
const longReason = 110; // characters; a longer one needs scrolling on a phone
const pictureTrouble = "The picture could not be loaded.";

export class Card {
  #view;
  #parts;
  #pictureUrl;

  constructor(template) {
    this.element = template.content.firstElementChild.cloneNode(true);
    const part = (selector) => this.element.querySelector(selector);
    this.#parts = {
      link: part(".link"),
      picture: part(".picture"),
      note: part(".note"),
      message: part(".message"),
      sequel: part(".sequel"),
      model: part(".model"),
      test: part(".test"),
      mark: part(".mark use"),
      word: part(".word"),
      detail: part(".detail"),
    };
    this.#parts.picture.addEventListener("load", () => this.#setPicture("shown"));
    this.#parts.picture.addEventListener("error", () => this.#setPicture("broken"));
  }

  show(view) {
    const { model, test, mark, word } = this.#parts;
    this.#view = view;
    this.element.dataset.state = view.state;
    this.element.dataset.model = view.modelId;
    this.element.dataset.since = view.since;
    model.textContent = `Model ${view.modelId}`;
    test.hidden = !view.test;
    mark.setAttribute("href", `#mark-${view.state}`);
    word.textContent = words[view.state];
    if (view.pictureUrl !== this.#pictureUrl) this.#load(view.pictureUrl);
    this.#setNote();
    this.tick();
  }

  /** Update the texts that depend on the present time. */
  tick() {
    const present = now();
    setText(this.#parts.detail, detail(this.#view, present));
    setText(this.#parts.sequel, sequel(this.#view, present));
  }

  get since() {
    return this.#view.since;
  }

  retryPicture() {
    if (this.element.dataset.picture === "broken") this.#load(this.#pictureUrl);
  }

  #load(url) {
    const { picture } = this.#parts;
    this.#pictureUrl = url;
    if (!url) {
      picture.removeAttribute("src");
      this.#setPicture(url === undefined ? "none" : "broken");
    } else {
      if (this.element.dataset.picture !== "shown") this.#setPicture("loading");
      picture.src = url;
    }
  }

  #setPicture(state) {
    const { link, picture } = this.#parts;
    this.element.dataset.picture = state;
    if (state === "shown") {
      picture.alt = `Thumbnail of model ${this.#view.modelId}`;
      link.setAttribute("href", this.#pictureUrl);
    } else {
      picture.alt = "";
      link.removeAttribute("href");
    }
    this.#setNote();
  }

  #setNote() {
    const message = this.#message();
    setText(this.#parts.message, message);
    this.element.toggleAttribute("data-note", message !== "");
    if (message.length > longReason) this.#parts.note.tabIndex = 0;
    else this.#parts.note.removeAttribute("tabindex");
  }

  #message() {
    const { state, reason, workerId } = this.#view;
    if (state === "failed") return reason || "No reason was given.";
    if (state === "rendering") return workerId ?? "";
    return this.element.dataset.picture === "broken" ? pictureTrouble : "";
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return the text beside the state: the time of rendering so far, or the time from the request to the picture. */
function detail({ state, attempts, willRetry, took, claimedAt }, now) {
  const facts = [attempts > 1 && (state !== "failed" || willRetry) && `attempt ${attempts}`];
  if (claimedAt && now - claimedAt >= 1_000) facts.push(elapsed(now - claimedAt));
  if (state === "ready" && took !== undefined) facts.push(duration(took));
  return facts.filter(Boolean).join(" · ");
}

/** Return the sentence about the next attempt after a failure. */
function sequel({ state, attempts, willRetry, nextAttemptAt }, now) {
  if (state !== "failed") return "";
  if (!willRetry) return attempts ? `Given up after ${count(attempts, "attempt")}.` : "";
  if (nextAttemptAt === undefined) return "Will try again.";
  return now < nextAttemptAt ? `Will try again at ${timeOfDay(nextAttemptAt)}.` : "Due again, waiting for a worker.";
}
