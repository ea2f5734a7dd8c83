// The figures in the bar: jobs of the whole queue, not only those whose cards are shown.

import { number } from "../shared/words.js";

const figures = [...document.querySelectorAll("[data-counter]")];

export function showCounters(snapshot) {
  for (const figure of figures) {
    const value = snapshot[figure.dataset.counter];
    figure.textContent = number(value);
    figure.parentElement.toggleAttribute("data-none", value === 0);
  }
}
