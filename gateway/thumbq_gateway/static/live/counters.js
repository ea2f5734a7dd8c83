// The counters in the bar. They count the jobs of the whole queue, also those without a card.

import { number } from "../shared/format.js";

const figures = [...document.querySelectorAll("[data-counter]")];

export function showCounters(snapshot) {
  for (const figure of figures) {
    const value = snapshot[figure.dataset.counter];
    figure.textContent = number(value);
    figure.parentElement.toggleAttribute("data-none", value === 0);
  }
}
